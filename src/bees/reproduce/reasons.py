"""Why claims came out as they did, as far as experiments have shown; each names its experiment."""

from __future__ import annotations

from typing import Final

REASONS: Final[dict[str, str]] = {}
"""By the key of a claim, in place of the computed reason."""

FITTED: Final[tuple[str, ...]] = ()
"""Keys of claims whose learning settings were searched for to meet them."""
