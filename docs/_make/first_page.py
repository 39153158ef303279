"""Draws the picture of the first page: python docs/_make/first_page.py build/pixel-mnist, after `make demo`.

What went in, the files that came out, and the table that proves them, as the bundle's manifest and report have them.
Times are left out: they would be those of one machine.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pictures import line, picture, text

PICTURE = Path(__file__).parents[1] / "figures" / "first-page.svg"
WIDTH, LINE = 880, 19
TITLE = "A checkpoint goes in; a bundle and the errors of every runtime against float64 come out"


def drawing(bundle: Path) -> str:
    """The text of the SVG file.

    Args:
        bundle: The bundle's folder, with `parity.json`.
    """
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    report = json.loads((bundle / "parity.json").read_text(encoding="utf-8"))
    rows = [cells(row) for row in report["rows"]]
    files = listing(bundle)
    height = 76 + LINE * max(len(rows) + 1, len(files))
    parts = [*_input(manifest), *_files(files), *_table(rows)]
    return picture(WIDTH, height, TITLE, iter(parts))


def cells(row: dict[str, Any]) -> tuple[str, str, str, str]:
    """Runtime, graph, error and verdict of a row of the report."""
    worst = max(row["cases"], key=lambda case: case["in_noise"])
    return (
        row["runtime"],
        row["graph"].rpartition("/")[2],
        f"{worst['in_noise']:.2f}",
        "passed" if row["passed"] else "failed",
    )


def listing(bundle: Path) -> list[tuple[str, str]]:
    """Name and size of each file; a folder is one line."""
    sizes: dict[str, int] = {}
    for path in sorted(bundle.rglob("*")):
        if path.is_file():
            inside = path.relative_to(bundle).parts
            name = inside[0] if len(inside) == 1 else f"{inside[0]}/"
            sizes[name] = sizes.get(name, 0) + path.stat().st_size
    return [(name, _size(size)) for name, size in sorted(sizes.items(), key=lambda entry: -entry[1])]


def _size(count: int) -> str:
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def _input(manifest: dict[str, Any]) -> Iterator[str]:
    spec, dilations = manifest["spec"], manifest["spec"]["dilations"]
    yield text(12, 24, "What goes in", "title")
    yield from _card(12, 36, 176, 4)
    yield text(24, 56, "model.pt", "code")
    yield text(
        24, 56 + LINE, f"{len(spec['hidden'])} {spec['cell'].upper()} layers of {spec['hidden'][0]} units", "small"
    )
    yield text(24, 56 + 2 * LINE, f"dilations {dilations[0]}, {dilations[1]}, ... {dilations[-1]}", "small")
    yield text(24, 56 + 3 * LINE, f"{manifest['task']['length']} steps, {spec['head']['outputs']} outputs", "small")
    yield from _arrow(192, 84, 252, "drnn-export")


def _files(files: list[tuple[str, str]]) -> Iterator[str]:
    yield text(258, 24, "What comes out", "title")
    yield from _card(258, 36, 246, len(files))
    for place, (name, size) in enumerate(files):
        yield text(270, 56 + LINE * place, name, "code")
        yield text(492, 56 + LINE * place, size, "small end")
    yield from _arrow(508, 84, 568, "drnn-parity")


def _table(rows: list[tuple[str, str, str, str]]) -> Iterator[str]:
    yield text(574, 24, "The proof: errors against float64", "title")
    for x, kind, words in ((574, "", "runtime"), (708, "", "graph"), (808, "end", "in noise"), (872, "end", "verdict")):
        yield text(x, 48, words, f"small {kind}")
    yield line(574, 55, 872, 55)
    for place, (runtime, graph, noise, verdict) in enumerate(rows):
        y = 56 + LINE * (place + 1) - 3
        yield text(574, y, runtime, "code")
        yield text(708, y, graph, "small")
        yield text(808, y, noise, "code end")
        yield text(872, y, verdict, f"small end {'good' if verdict == 'passed' else 'bad'}")
    yield text(574, 60 + LINE * (len(rows) + 1), "in units of float32's own rounding; up to 8 passes", "small")


def _card(x: float, y: float, width: float, lines: int) -> Iterator[str]:
    yield f'<rect class="edge" x="{x:g}" y="{y:g}" width="{width:g}" height="{LINE * lines + 12:g}" rx="6"/>'


def _arrow(x: float, y: float, end: float, words: str) -> Iterator[str]:
    yield line(x, y, end, y, "path")
    yield f'<path class="path" d="M{end - 6:g} {y - 5:g}L{end:g} {y:g}L{end - 6:g} {y + 5:g}"/>'
    yield text((x + end) / 2, y - 9, words, "tiny middle")


if __name__ == "__main__":
    PICTURE.write_text(drawing(Path(sys.argv[1])), encoding="utf-8")
