from __future__ import annotations

import sys
from pathlib import Path

# Tests are no package; this lets them share the module that stands beside them.
sys.path.insert(0, str(Path(__file__).parent))
