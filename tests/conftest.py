from __future__ import annotations

import pytest

from bees.core.errors import MissingExtraError
from bees.node.comet_process import find_comet


@pytest.fixture(scope="session")
def needs_comet() -> None:
    """Skips, with the reason, what needs CometBFT where there is none."""
    try:
        find_comet()
    except MissingExtraError as error:
        pytest.skip(f"CometBFT: {error}")
