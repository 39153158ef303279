"""What generated files say of their licence (docs/promises.md, "Your product")."""

from __future__ import annotations

SPDX = "SPDX-License-Identifier: Apache-2.0"
SENTENCES = (
    "This comes from drnn-deploy, under the Apache License 2.0. Build it into any product, open or closed.",
    "You need not show your sources. Keep this notice, and put a copy of the licence beside your product's others:",
    "https://www.apache.org/licenses/LICENSE-2.0. Weights, and numbers that are made of them, are yours.",
)


def licensed(text: str, mark: str) -> str:
    """Put the licence before a text, as comments.

    Args:
        text: Source code.
        mark: What begins a comment that ends with its line.
    """
    return "".join(f"{mark} {line}\n" for line in (SPDX, *SENTENCES)) + text
