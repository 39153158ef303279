"""Explanations in words, for the terminal and for Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from drnn_deploy.debug.explanation import Deviation, Explanation, PartResult

_BARS = "▁▂▃▄▅▆▇█"
_NOT_FINITE = "!"
_MOST_FINDINGS = 5
COLUMNS = ("part", "on right inputs", "as it ran", "limit", "first step off", "growth as it ran")


def sparkline(deviation: Deviation | None, *, ascii_only: bool = False) -> str:
    """Error over time in up to 16 characters: the lowest is within the limit, each higher one a decade further past it.

    `!` is not finite. ascii_only: digits from 0 in place of bars.
    """
    if deviation is None:
        return ""
    bars = "01234567" if ascii_only else _BARS
    return "".join(_NOT_FINITE if value is None else bars[_level(value, deviation.limit)] for value in deviation.growth)


def _level(value: float, limit: float) -> int:
    if value <= limit:
        return 0
    return min(len(_BARS) - 1, 1 + int(math.log10(value / limit))) if limit > 0 else len(_BARS) - 1


def table(explanation: Explanation, *, ascii_only: bool = False) -> list[tuple[str, ...]]:
    """A row for each part, by `COLUMNS`, then one for each state that is wrong."""
    rows = [_row(part, ascii_only) for part in explanation.parts]
    for state in explanation.states:
        if not state.alone.passed:
            name = f"{state.name} ({state.part})"
            rows.append((name, _error(state.alone), "", f"{state.alone.limit:.1e}", _step(state.alone), ""))
    return rows


def details(explanation: Explanation) -> list[str]:
    """What the verdict and the table do not say, a line each."""
    lines = []
    if explanation.first_off is not None and explanation.first_off.whole is not None:
        first = explanation.first_off
        lines.append(f"as it ran, {first.part} is the first past its limit, from step {_step(first.whole)}")
    if explanation.findings:
        count = len(explanation.findings)
        lines.append(f"differences from the graph that the weights make: {count}")
        lines += [f"  {finding}" for finding in explanation.findings[:_MOST_FINDINGS]]
        if count > _MOST_FINDINGS:
            lines.append(f"  and {count - _MOST_FINDINGS} more (all are in the JSON report)")
    if explanation.seen_on:
        lines.append(f"these are values of {explanation.seen_on}: {explanation.runtime} shows none of its own")
    if explanation.note:
        lines.append(explanation.note)
    return lines


def markdown(explanations: Mapping[str, Sequence[Explanation]]) -> str:
    """A section for each explanation of each bundle."""
    lines: list[str] = []
    for path, found in explanations.items():
        for explanation in found:
            lines += [f"#### {path}: {explanation.runtime} {explanation.graph}", "", f"**{explanation.verdict}**", ""]
            if explanation.parts:
                lines += [_markdown_row(COLUMNS), _markdown_row(["---"] * len(COLUMNS))]
                lines += [*map(_markdown_row, table(explanation)), ""]
                lines += [f"On {explanation.case} inputs.", ""]
            lines += [f"- {line.strip()}" for line in details(explanation)]
            lines += [f"- reproduction: {explanation.reproduction}"] if explanation.reproduction else []
            lines += ["", f"    {explanation.command}", ""]
    return "\n".join(lines)


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _row(part: PartResult, ascii_only: bool) -> tuple[str, ...]:
    seen = next((each for each in (part.alone, part.whole) if each is not None), None)
    limit = "" if seen is None else f"{seen.limit:.1e}"
    growth = sparkline(part.whole, ascii_only=ascii_only)
    return part.part, _error(part.alone), _error(part.whole), limit, _step(part.whole), growth


def _error(deviation: Deviation | None) -> str:
    if deviation is None:
        return "not seen"
    text = "not finite" if deviation.absolute is None else f"{deviation.absolute:.1e}"
    return text if deviation.passed else f"{text} OFF"


def _step(deviation: Deviation | None) -> str:
    return "" if deviation is None or deviation.first_bad_step is None else str(deviation.first_bad_step)
