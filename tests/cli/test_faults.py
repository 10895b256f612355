"""``bees faults`` as a user meets it: one history, a plan file, a campaign; its exit codes and its complaints."""

from __future__ import annotations

import json
import signal
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest

from bees.cli.main import run_command
from bees.faults.history import run_history
from bees.faults.plan import draw_plan
from bees.faults.plan_file import encode_plan, read_plan

if TYPE_CHECKING:
    from pathlib import Path

SMALL = ("--servers", "5", "--devices", "3")


def bees(*arguments: str | Path) -> tuple[int, str, str]:
    """Run ``bees faults`` within this process."""
    out, err = StringIO(), StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = run_command(["faults", *map(str, arguments)])
    finally:
        signal.signal(signal.SIGTERM, handler)
    return code, out.getvalue(), err.getvalue()


def test_one_history_is_told_and_played_twice() -> None:
    code, out, err = bees("--seed", "1", *SMALL)
    assert code == 0, err
    assert "all invariants held" in out
    assert "the same when played again" in out


def test_json_holds_the_plan_and_the_result(tmp_path: Path) -> None:
    plan_file = tmp_path / "plan.json"
    code, out, _ = bees("--seed", "2", *SMALL, "--json", "--out", plan_file)
    told = json.loads(out)
    assert code == 0
    assert (told["repeated"], told["shrunk"], told["result"]["violation"]) == (True, None, "")
    assert read_plan(plan_file) == draw_plan(2, servers=5, devices=3)
    _, again, _ = bees("--plan", plan_file, "--once", "--json")
    assert json.loads(again)["result"] == told["result"]


def test_a_failure_is_shrunk_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_with_events(plan: Any) -> Any:
        if plan.events:
            raise ZeroDivisionError
        return run_history(plan)

    monkeypatch.setattr("bees.faults.play.run_history", fail_with_events)
    plan_file = tmp_path / "smallest.json"
    seed = next(seed for seed in range(20) if len(draw_plan(seed, servers=5, devices=3).events) > 2)
    code, out, _ = bees("--seed", str(seed), *SMALL, "--budget", "20", "--out", plan_file)
    assert code == 1
    assert "BROKEN: ZeroDivisionError" in out
    assert "the smallest plan found" in out
    assert len(read_plan(plan_file).events) == 1


def test_a_campaign_is_summed_up_and_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "campaign"
    code, out, err = bees("--campaign", "2", *SMALL, "--folder", folder, "--json")
    assert code == 0, err
    assert json.loads(out)["histories"] == 2
    code, out, _ = bees("--campaign", "3", *SMALL, "--resume", folder)
    assert code == 0
    assert "3 histories" in out
    assert "all invariants held" in out
    assert json.loads((folder / "summary.json").read_text())["last_seed"] == 2


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--servers", "3"), "--servers"),
        (("--devices", "1"), "--devices"),
        (("--faulty", "20"), "--faulty"),
        (("--seed", "-1"), "--seed"),
        (("--seed", "1", "--campaign", "3"), "one of"),
        (("--resume", "nowhere"), "--campaign"),
        (("--resume", "nowhere", "--campaign", "2"), "nowhere"),
        (("--plan", "nowhere.json"), "nowhere.json"),
        (("--campaign", "2", "--out", "x.json"), "--out"),
        (("--campaign", "2", "--folder", "."), "--resume"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: tuple[str, ...], word: str) -> None:
    code, _, err = bees(*arguments)
    assert code == 2
    assert word in err
    assert len(err.strip().splitlines()) == 1


def test_a_broken_plan_file_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(encode_plan(draw_plan(0)).replace(b'"servers": 20', b'"servers": "many"'))
    code, _, err = bees("--plan", path)
    assert code == 2
    assert "servers" in err
    assert len(err.strip().splitlines()) == 1
