"""Whether the user trusts the images of bundles: they are code for the GPU."""

from __future__ import annotations

import os

TRUST = "DRNN_TRUST_IMAGES"  # the variable that `--trust-images` sets, so that child processes have it too


def trusts_images() -> bool:
    """Whether images of bundles run as they are."""
    return os.environ.get(TRUST) == "1"  # no other word, such as "false", may mean yes
