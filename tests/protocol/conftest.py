from __future__ import annotations

import sys
from pathlib import Path

# Tests are no package; this lets the duties be tested on the tiny chain that tests/ledger has.
sys.path.append(str(Path(__file__).parents[1]))
