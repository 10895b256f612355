"""Mutants are found, killed and spared as they should be (``campaigns.mutations``, ``mutant_runs``, ``mutants``)."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from campaigns import mutants as campaign
from campaigns.mutant_runs import CleanRunError, Target, run_mutants
from campaigns.mutants import GROUPS, TESTS, summarize, target_of
from campaigns.mutations import find_mutants

if TYPE_CHECKING:
    from pathlib import Path

# The mutants' processes are forked from one that holds no JAX, but a worker that runs all tests may have loaded it.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")

TOY = '''"""Docstrings are no code."""
from __future__ import annotations

LIMIT = 3


def is_many(count: int = 0) -> bool:
    """Whether it is."""
    if count < 0:
        raise ValueError("less than none")
    return count >= LIMIT


class Room:
    @property
    def is_quiet(self) -> bool:
        return not is_many(2)


def wait(rounds: int) -> int:
    while rounds > 0:
        rounds -= 1
    return rounds
'''
LOOSE = """
import pytest
from toy_of_mutants import Room, is_many, wait


def test_many():
    assert is_many(7) and not is_many()


def test_room():
    assert Room().is_quiet
    assert wait(2) == 0
"""
STRICT = """
def test_the_limit_itself():
    assert is_many(3) and not is_many(2)
    assert not is_many(0)
    with pytest.raises(ValueError):
        is_many(-1)
"""


def run(folder: Path, tests: str, *mutated: str) -> dict[str, str]:
    """The fates of the toy's mutants, by their mutated line."""
    folder.mkdir(exist_ok=True)
    (folder / "toy_of_mutants.py").write_text(TOY)
    path = folder / "test_toy_of_mutants.py"
    path.write_text(f"import sys\nsys.path.insert(0, {str(folder)!r})\n{tests}")
    chosen = [mutant for mutant in find_mutants(TOY) if not mutated or mutant.mutated in mutated]
    verdicts = run_mutants(Target("toy_of_mutants", folder / "toy_of_mutants.py", (path,)), chosen)
    return {chosen[verdict.mutant].mutated: verdict.fate for verdict in verdicts}


def test_a_boundary_survives_tests_that_stay_away_from_it_and_is_killed_by_one_that_does_not(tmp_path: Path):
    boundary, negated = "return count > LIMIT", "return count < LIMIT"
    assert run(tmp_path / "loose", LOOSE, boundary, negated) == {boundary: "survived", negated: "killed"}
    assert run(tmp_path / "strict", LOOSE + STRICT, boundary, negated) == {boundary: "killed", negated: "killed"}


def test_properties_and_the_code_that_runs_at_import_are_mutated_too(tmp_path: Path):
    limit, quiet = "LIMIT = 4", "return (is_many(2))"
    assert run(tmp_path / "loose", LOOSE, limit, quiet) == {limit: "survived", quiet: "killed"}
    assert run(tmp_path / "strict", LOOSE + STRICT, limit, quiet) == {limit: "killed", quiet: "killed"}


def test_what_no_test_passes_over_survives(tmp_path: Path):
    assert run(tmp_path, LOOSE.replace("wait(2)", "0"), "while rounds >= 0:") == {"while rounds >= 0:": "survived"}


def test_an_endless_loop_is_timed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("campaigns.mutant_runs._CPU_LIMIT_S", 1)
    assert run(tmp_path, LOOSE, "rounds += 1") == {"rounds += 1": "timed out"}


def test_tests_that_fail_anyway_judge_nothing(tmp_path: Path):
    with pytest.raises(CleanRunError, match="toy_of_mutants"):
        run(tmp_path, LOOSE + "\n\ndef test_false():\n    assert False\n")


def test_mutants_leave_out_docstrings_annotations_imports_and_the_texts_of_errors():
    lines = {(mutant.kind, mutant.mutated) for mutant in find_mutants(TOY)}
    assert lines == {
        ("constant", "LIMIT = 4"),
        ("constant", "LIMIT = 2"),
        ("constant", "def is_many(count: int = 1) -> bool:"),
        ("constant", "def is_many(count: int = (-1)) -> bool:"),
        ("comparison", "if count <= 0:"),
        ("comparison", "if count >= 0:"),
        ("constant", "if count < 1:"),
        ("constant", "if count < (-1):"),
        ("statement removed", "pass"),
        ("comparison", "return count > LIMIT"),
        ("comparison", "return count < LIMIT"),
        ("negation removed", "return (is_many(2))"),
        ("constant", "return not is_many(3)"),
        ("constant", "return not is_many(1)"),
        ("comparison", "while rounds >= 0:"),
        ("comparison", "while rounds <= 0:"),
        ("constant", "while rounds > 1:"),
        ("constant", "while rounds > (-1):"),
        ("arithmetic", "rounds += 1"),
        ("constant", "rounds -= 2"),
        ("constant", "rounds -= 0"),
    }


@pytest.mark.parametrize(
    ("source", "mutated"),
    [
        ("x = a and b", {"x = (a or b)", "x = (a)", "x = (b)"}),
        ("x = f(a, b)", {"x = f(b, a)"}),
        ("x = sorted(a)", {"x = list(a)"}),
        ("x = a + b * c", {"x = a - b * c", "x = a + b // c"}),
        ("x = 'name'", {'x = ""'}),
        ("x = True", {"x = False"}),
        ("x = b if f(a) else c", {"x = b if (not (f(a))) else c"}),
        ("try:\n    f()\nexcept (A, B):\n    f()", {"except A:", "except B:", "pass"}),
        ("Pair = tuple[Literal['a'], int]", set()),
        ("if TYPE_CHECKING:\n    limit = 5", set()),
        ("def f(x):\n    y = 'ü'; x = not y", {'y = ""; x = not y', "y = 'ü'; x = (y)", "y = 'ü'; pass"}),
    ],
)
def test_every_kind_of_change(source: str, mutated: set[str]):
    found = find_mutants(source)
    assert {mutant.mutated for mutant in found} == mutated
    assert all(mutant.apply(source) != source for mutant in found)


def test_every_module_has_tests_that_exist():
    assert {module for modules in GROUPS.values() for module in modules} == set(TESTS)
    for module in TESTS:
        target = target_of(module)
        assert target.path.exists()
        assert all(path.exists() for path in target.tests)


def test_verdicts_are_taken_up_again_and_survivors_get_their_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = target_of("bees.ledger.election")
    killed, survivor = find_mutants(target.path.read_text())[:2]
    about = {
        "module": target.name,
        "source": campaign._hash(target.path),
        "tests": campaign._hash(*target.tests),
        "by": "",
    }
    results, reasons = tmp_path / "mutants.jsonl", tmp_path / "survivors.toml"
    kept = [{**about, **asdict(killed), "fate": "killed"}, {**about, **asdict(survivor), "fate": "survived"}]
    results.write_text("".join(json.dumps(verdict) + "\n" for verdict in kept) + '{"module": "cut sho')
    reasons.write_text(
        "[[survivor]]\n"
        + "".join(
            f"{name} = {json.dumps(value)}\n"
            for name, value in {
                "module": target.name,
                "place": survivor.place,
                "original": survivor.original,
                "mutated": survivor.mutated,
                "reason": "it is the same",
            }.items()
        )
    )
    monkeypatch.setattr(campaign, "GROUPS", {"election": (target.name,)})
    group = summarize(results, reasons)["election"]
    assert (group["killed"], group["survived"], group["survived_with_reason"], group["killed_share"]) == (1, 1, 1, 0.5)
    assert group["modules"][target.name]["survivors"][0]["reason"] == "it is the same"

    read = campaign._read(results, target.name)
    assert campaign.open_mutants(target, [killed, survivor], read) == []
    assert campaign.open_mutants(target, [killed, survivor], [{**v, "tests": "changed"} for v in read]) == [survivor]
    assert campaign.open_mutants(target, [killed], [{**v, "source": "changed"} for v in read]) == [killed]
