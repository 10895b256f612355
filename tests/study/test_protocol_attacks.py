from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from bees.adversary.protocol.behaviours import DEVICE_BEHAVIOURS, SERVER_BEHAVIOURS
from bees.core.errors import InputError
from bees.faults.play import play
from bees.study.protocol_attacks import ProtocolRow, judge, measure_protocol_attacks, play_attack
from bees.study.protocol_catalogue import WITHSTOOD, Attack, all_attacks
from bees.study.protocol_recording import Deceit, record
from bees.study.protocol_table import tables
from bees.study.rows import append_row, read_rows
from campaigns.protocol_attacks import PAGE, ROWS, with_tables

if TYPE_CHECKING:
    from pathlib import Path


def attack(name: str, liars: int, by: str = "servers", cut_off: int = 0) -> Attack:
    (found,) = [a for a in all_attacks() if (a.name, a.liars, a.by, a.cut_off) == (name, liars, by, cut_off)]
    return found


@pytest.fixture(scope="module")
def wrong_publish() -> ProtocolRow:
    return play_attack(attack("wrong publish", 1), 0)


@pytest.fixture(scope="module")
def committed() -> list[ProtocolRow]:
    return read_rows(ROWS, ProtocolRow)


def test_every_behaviour_is_played_by_one_and_by_as_many_as_are_withstood():
    names = {(a.name, a.by, a.liars) for a in all_attacks()}
    servers = {*SERVER_BEHAVIOURS, "inflated scores", "deflated scores"} - {"false attestation"}
    assert names >= {(name, "servers", liars) for name in servers for liars in (1, WITHSTOOD)}
    assert names >= {(name, "devices", liars) for name in DEVICE_BEHAVIOURS for liars in (1, 6)}
    assert max(a.liars for a in all_attacks()) > WITHSTOOD


def test_recording_changes_nothing():
    one = attack("two votes", WITHSTOOD)
    plan = replace(one.plan(3), rounds=1)
    recorded, played = record(plan, Deceit()), play(plan).result
    assert recorded.digest == played.digest
    assert len(recorded.rounds) == played.rounds
    assert recorded.lies > 0


def test_a_wrong_result_is_refused_for_what_it_is_and_its_author_convicted(wrong_publish: ProtocolRow):
    assert wrong_publish.refused["WrongResultError"] > 0
    assert wrong_publish.convicted == {"server 0": 1}
    assert wrong_publish.honest_convicted == ()
    assert (wrong_publish.same_models, wrong_publish.other_models) == (3, {})
    assert wrong_publish.outcome == "convicted"
    assert wrong_publish.pace.turns < wrong_publish.honest_pace.turns


def test_false_scores_are_outvoted_and_refusing_to_attest_gains_no_turn():
    deflated = play_attack(attack("deflated scores", WITHSTOOD), 0)
    assert deflated.counted > 0
    assert deflated.same_models == deflated.rounds == 3
    assert deflated.outcome == "outvoted"
    lazy = play_attack(attack("refused duties", 1), 0)
    assert lazy.withheld > 0
    assert lazy.pace.turns == lazy.honest_pace.turns == 0
    # Silence costs as much as the duty, so the account does not gain by it either.
    assert lazy.pace.paid_mj >= lazy.honest_pace.paid_mj


def test_claims_of_the_genesis_gain_turns_but_do_not_change_the_model():
    for name in ("capacity overstated at genesis", "budget understated at genesis"):
        row = play_attack(attack(name, 1), 0)
        assert (row.honest_pace.turns, row.pace.turns, row.outcome) == (0.0, 1.0, "succeeds")
        assert row.same_models == row.rounds


def test_the_bound_is_where_it_is_said_to_be():
    at = play_attack(attack("favoured devices", WITHSTOOD, cut_off=6), 0)
    assert (at.outcome, at.broken, at.is_beyond) == ("outvoted", "", False)
    above = play_attack(attack("favoured devices", WITHSTOOD + 1, cut_off=6), 0)
    assert (above.outcome, above.broken) == ("succeeds", "liars do not move a median")
    assert above.is_beyond


def test_what_a_registered_device_says_of_itself_is_believed_up_to_its_cap():
    row = play_attack(attack("samples up to the cap", 1, "devices"), 0)
    assert row.false_updates > 0
    assert row.outcome == "succeeds"
    stranger = play_attack(attack("unregistered device", 1), 0)
    assert set(stranger.refused) == {"UnknownParticipantError"}
    assert (stranger.taken, stranger.outcome) == (0, "refused")


def test_the_outcome_follows_from_what_was_measured(wrong_publish: ProtocolRow):
    harmless = replace(wrong_publish, convicted={}, slowest_honest_s=1e9, refused={}, counted=0, lost_updates=0)
    assert judge(harmless) == "no effect"
    assert judge(replace(harmless, refused={"x": 1})) == "refused"
    assert judge(replace(harmless, refused={"x": 1}, counted=1)) == "outvoted"
    assert judge(replace(harmless, counted=1, slowest_honest_s=0.0)) == "delayed"
    assert judge(replace(harmless, counted=1, skipped=1)) == "delayed"
    assert judge(replace(harmless, lost_updates=harmless.most_lost_honest + 1)) == "delayed"
    assert judge(replace(harmless, convicted={"server 0": 1}, skipped=1)) == "convicted"
    for change in ({"broken": "w_g"}, {"false_updates": 1}, {"honest_convicted": ("server 1",)}):
        assert judge(replace(wrong_publish, **change)) == "succeeds"
    more = replace(harmless.honest_pace, turns=harmless.honest_pace.turns + 0.1)
    assert judge(replace(harmless, pace=more)) == "no effect"
    assert judge(replace(harmless, pace=more, aim="turns")) == "succeeds"


def test_rows_are_kept_and_not_measured_again(tmp_path: Path, wrong_publish: ProtocolRow):
    path, seen = tmp_path / "rows.jsonl", list[ProtocolRow]()
    some = [attack("wrong publish", 1)]
    first = measure_protocol_attacks(path, 0, some, seen.append)
    assert first == seen == [wrong_publish] == read_rows(path, ProtocolRow)
    marked = replace(wrong_publish, lies=-1)
    path.write_bytes(b"")
    append_row(path, marked)
    assert measure_protocol_attacks(path, 0, some) == [marked]
    path.write_text("{}\n")
    with pytest.raises(InputError, match="line 1"):
        measure_protocol_attacks(path, 0, some)


def test_the_page_shows_the_rows_that_were_measured(committed: list[ProtocolRow]):
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page, tables(committed)) == page
    assert {(row.attack, row.by, row.liars, row.cut_off) for row in committed} == {
        (a.name, a.by, a.liars, a.cut_off) for a in all_attacks()
    }
    assert all(judge(row) == row.outcome and not row.honest_convicted for row in committed)
    assert all(not row.broken for row in committed if not row.is_beyond)


def test_a_committed_row_is_what_the_code_still_measures(committed: list[ProtocolRow], wrong_publish: ProtocolRow):
    (kept,) = [row for row in committed if (row.attack, row.liars) == ("wrong publish", 1)]
    assert (kept.outcome, kept.convicted) == (wrong_publish.outcome, wrong_publish.convicted)
    assert kept.refused.keys() == wrong_publish.refused.keys()
