"""Whether the tests run at length: `make nightly`. The ordinary run does everything, but less often and on less."""

from __future__ import annotations

import os

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
