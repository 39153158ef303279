"""What a paper, or this project, claims of the runs of an experiment."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection
from typing import Any

from drnn_core.errors import InputError

_NUMBER = (int, float)


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence on runs, and what makes it true of each of them.

    Attributes:
        text: The sentence.
        runs: The names of the runs.
        at_least: The metric is not below it.
        at_most: The metric is not above it.
        than: A run, which each of them is better than.
        by: By how much, in the metric; where it is negative, they may be as much worse.
        why_not: Why it does not hold, where it does not.
    """

    text: str
    runs: tuple[str, ...]
    at_least: float | None = None
    at_most: float | None = None
    than: str = ""
    by: float = 0.0
    why_not: str = ""

    @staticmethod
    def from_table(table: object, known: Collection[str]) -> Claim:
        """Read a claim.

        Args:
            table: Of an experiment's file.
            known: The names that it may use.

        Raises:
            InputError: It is no claim.
        """
        kinds: dict[str, Any] = {"text": str, "runs": list, "than": str, "why_not": str}
        kinds |= dict.fromkeys(("at_least", "at_most", "by"), _NUMBER)
        if not isinstance(table, dict) or not set(table) <= set(kinds) or not {"text", "runs"} <= set(table):
            raise InputError(
                f"a claim has text, runs, and at_least, at_most, or than and by, perhaps why_not, got {table!r:.300}"
            )
        if wrong := [key for key, value in table.items() if not _is_of(value, kinds[key])]:
            raise InputError(f"entry {wrong[0]!r} of a claim is of the wrong kind: {table[wrong[0]]!r:.100}")
        if ("than" in table) + ("at_least" in table) + ("at_most" in table) != 1 or not table["runs"]:
            raise InputError(
                f"a claim says one of at_least, at_most and than, of one run at least: {table['text']:.200}"
            )
        if "by" in table and "than" not in table:
            raise InputError(f"entry 'by' of a claim would be ignored: it needs than: {table['text']:.200}")
        if table.get("than") in table["runs"]:
            raise InputError(f"a claim holds {table['than']!r:.100} against itself")
        named = [*table["runs"], *([table["than"]] if "than" in table else [])]
        if unknown := [name for name in named if not isinstance(name, str) or name not in known]:
            raise InputError(f"a claim names {unknown[0]!r:.100}, which is not a run")
        texts = {key: " ".join(table[key].split()) for key in ("text", "why_not") if key in table}
        return Claim(**{**table, **texts, "runs": tuple(table["runs"])})


def _is_of(value: object, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and (kind != _NUMBER or math.isfinite(value))
