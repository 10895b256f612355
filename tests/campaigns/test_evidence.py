"""Evidence says where it came from (``campaigns.evidence``)."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from campaigns import evidence
from campaigns.evidence import revision, write_evidence

if TYPE_CHECKING:
    from pathlib import Path


def test_evidence_holds_results_command_revision_and_machine(tmp_path: Path):
    path = write_evidence("speed", "python -m campaigns.speed", {"b_ms": 1.5, "a": [1, 2]}, tmp_path / "new")
    assert path == tmp_path / "new" / "speed.json"
    document = json.loads(path.read_text())
    assert document["command"] == "python -m campaigns.speed"
    assert document["results"] == {"a": [1, 2], "b_ms": 1.5}
    assert document["revision"].keys() == {"commit", "dirty"}
    assert document["machine"].keys() == {"cores", "cpu", "platform", "python"}
    assert document["machine"]["cores"] >= 1
    assert path.read_text().index('"a"') < path.read_text().index('"b_ms"')


def test_what_is_no_json_leaves_the_last_evidence_as_it_was(tmp_path: Path):
    path = write_evidence("speed", "command", {"a": 1}, tmp_path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        write_evidence("speed", "command", {"a": float("nan")}, tmp_path)
    assert path.read_bytes() == before
    assert [left.name for left in tmp_path.iterdir()] == ["speed.json"]


def test_a_changed_tree_is_dirty_but_new_evidence_does_not_make_it_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(evidence, "ROOT", tmp_path)
    assert revision() == {"commit": None, "dirty": None}
    for arguments in (
        ["init", "-q"],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "--allow-empty", "-m", "first"],
    ):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    assert revision()["dirty"] is False
    write_evidence("speed", "command", {}, tmp_path / "docs" / "evidence")
    assert revision()["dirty"] is False
    (tmp_path / "code.py").write_text("")
    assert revision()["dirty"] is True
