"""What the guide says of round times is what was measured."""

from __future__ import annotations

import json

from campaigns.evidence import EVIDENCE, ROOT
from campaigns.network_table import network_table


def test_the_tables_of_the_guide_are_the_evidence():
    guide = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    results = json.loads((EVIDENCE / "network_faults.json").read_text(encoding="utf-8"))["results"]
    assert network_table(results["rows"]) in guide
    assert network_table(results["before"]) in guide


def test_a_row_that_has_failed_says_why():
    row = {
        "servers": 13,
        "model_bytes": 25_000_000,
        "commit_s": 0.2,
        "failed": "killed",
        "reached": "attest of round 1",
    }
    last = network_table({"one": row}).splitlines()[-1]
    assert last.startswith("| 13 × 25 MB | failed in attest of round 1: killed |")
    assert last.count("|") == network_table({}).splitlines()[0].count("|")
