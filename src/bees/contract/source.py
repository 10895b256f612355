"""The C sources that come with BEES: what each contract says of itself, and the template of an own one."""

from __future__ import annotations

import re
from pathlib import Path

from bees.contract.build import HEADERS

_FIRST_COMMENT = re.compile(r"\s*/\*(.*?)\*/", re.DOTALL)
_SENTENCE_END = re.compile(r"(?<=\.)\s+(?=[A-Z])")


def read_template() -> str:
    """The C file that ``bees contract new`` writes: a small rule that works."""
    return (HEADERS / "template" / "rule.c").read_text(encoding="utf-8")


def purpose(source: str) -> str:
    """What a packaged contract does, in one line: the first sentence of the first comment of its source.

    Args:
        source: as the contract list has it, such as ``contracts/fedavg.c``.
    """
    path = HEADERS / Path(source).name
    found = _FIRST_COMMENT.match(path.read_text(encoding="utf-8")) if path.is_file() else None
    if found is None:
        return ""
    text = " ".join(line.strip().removeprefix("*").strip() for line in found[1].splitlines()).strip()
    return _SENTENCE_END.split(text, maxsplit=1)[0].rstrip(".:")
