"""Draws the pictures of docs/concepts: python docs/_make/pictures.py, with the packages of the tree on the path.

They are drawn from the code that they explain where that can say where things are: the pruned cone is `plan_cone`'s.
Colours follow the system of whoever looks at them.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

from drnn_models.cone import plan_cone
from drnn_models.spec import Continuous, Head, ModelSpec

FOLDER = Path(__file__).parents[1] / "concepts"
_STYLE = """text { font: 13px sans-serif; fill: #222; } .small { font-size: 12px; } .middle { text-anchor: middle; }
.end { text-anchor: end; } .tiny { font-size: 11px; } .code { font: 12px monospace; } .title { font-weight: bold; }
.good { fill: #1a7f4b; } .bad { fill: #b3261e; }
.edge { stroke: #8a8f98; fill: none; } .free { fill: none; stroke: #8a8f98; } .band { fill: #00897b; opacity: .16; }
.used { fill: #00897b; stroke: #00897b; } .path { stroke: #00897b; fill: none; stroke-width: 1.6; } .on { fill: #fff; }
.c0 { fill: #00897b; } .c1 { fill: #b36200; } .c2 { fill: #3f6ad8; } .c3 { fill: #b0479c; }
@media (prefers-color-scheme: dark) { text { fill: #e4e6ea; } .on { fill: #111; } .band { fill: #4db6ac; }
.used { fill: #4db6ac; stroke: #4db6ac; } .path { stroke: #4db6ac; }
.good { fill: #6fcf97; } .bad { fill: #ff8a80; }
.c0 { fill: #4db6ac; } .c1 { fill: #f0ad4e; } .c2 { fill: #8fa8ff; } .c3 { fill: #e08fd0; } }"""


def picture(width: int, height: int, title: str, parts: Iterator[str]) -> str:
    """The text of an SVG file.

    Args:
        width: In pixels; it shrinks with the page.
        height: In pixels.
        title: What it shows, for those who do not see it.
        parts: The elements.
    """
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">'
    return "\n".join((head, f"<title>{escape(title)}</title>", f"<style>{_STYLE}</style>", *parts, "</svg>", ""))


def dot(x: float, y: float, kind: str, radius: float = 7) -> str:
    """A circle."""
    return f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="{radius:g}"/>'


def line(x0: float, y0: float, x1: float, y1: float, kind: str = "edge") -> str:
    """A straight line."""
    return f'<path class="{kind}" d="M{x0:g} {y0:g}L{x1:g} {y1:g}"/>'


def arc(kind: str, x0: float, x1: float, y: float, top: float) -> str:
    """A curve between two points of one height; `top` is what it bends towards."""
    return f'<path class="{kind}" d="M{x0:g} {y:g}Q{(x0 + x1) / 2:g} {top:g} {x1:g} {y:g}"/>'


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Words, of which the baseline begins at (x, y), or has its middle there."""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(words)}</text>'


def fold() -> Iterator[str]:
    """A layer of dilation 4 over 12 steps, and the same as a batch of 4 over 3 steps."""
    dilation, steps = 4, 12
    yield text(20, 24, "As it is written: each step looks back four steps")
    for t in range(steps):
        x = 30 + 36 * t
        if t >= dilation:
            start = x - 36 * dilation
            yield arc("edge", start + 6, x - 6, 66, 26)
    for t in range(steps):
        yield dot(30 + 36 * t, 76, f"c{t % dilation}", 13)
        yield text(30 + 36 * t, 80, str(t), "middle small on")
    yield text(20, 126, "Folded: a batch of four sequences, three steps, dilation 1")
    for t in range(steps):
        column, row = divmod(t, dilation)
        x, y = 110 + 90 * column, 154 + 34 * row
        if column:
            yield line(x - 77, y, x - 13, y)
        yield dot(x, y, f"c{row}", 13)
        yield text(x, y + 4, str(t), "middle small on")
    for row in range(dilation):
        yield text(20, 158 + 34 * row, f"phase {row}", "small")
    yield text(314, 209, "3 calls of the cell, not 12", "small")


def cone() -> Iterator[str]:
    """Which steps of which layer reach the last output: 16 steps, dilations 1, 2, 4, 8."""
    spec = ModelSpec("rnn", (1,) * 4, (1, 2, 4, 8), Continuous(1), Head("last", 1))
    length = 16
    computed, positions = [], list(range(length))
    for plan in plan_cone(spec, length).layers:
        positions = positions if plan.select is None else [positions[index] for index in plan.select]
        computed.append(positions)
    rows = [256 - 56 * layer for layer in range(spec.layers + 1)]  # of the input, then of the layers
    places = [104 + 23 * t for t in range(length)]
    for layer, steps in enumerate(computed):
        y, below = rows[layer + 1], rows[layer]
        for t in steps:
            yield line(places[t], below - 8, places[t], y + 8, "path")
            if t >= spec.dilations[layer]:
                start = places[t - spec.dilations[layer]]
                yield arc("path", start + 6, places[t] - 6, y - 5, y - 24)
    for layer, y in enumerate(rows):
        yield text(8, y + 4, f"layer {layer}, d = {spec.dilations[layer - 1]}" if layer else "input", "small")
        for t in range(length):
            yield dot(places[t], y, "used" if not layer or t in computed[layer - 1] else "free", 6)
    kept, whole = sum(map(len, computed)), length * spec.layers
    yield text(8, 290, f"Filled: computed, {kept} of {whole} evaluations of a cell.", "small")
    yield text(8, 308, "Hollow: cannot reach the answer.", "small")


def state() -> Iterator[str]:
    """A delay line of dilation 4 as a ring: what step 9 reads and writes."""
    yield text(20, 24, "Dilation 4: the last four values are kept, in four places")
    for slot, t in enumerate((8, 5, 6, 7)):
        x = 60 + 110 * slot
        yield f'<rect class="{"used" if slot == 1 else "free"}" x="{x}" y="60" width="90" height="40" rx="6"/>'
        yield text(x + 45, 85, f"h of step {t}", "middle small on" if slot == 1 else "middle small")
        yield text(x + 45, 52, f"place {slot}", "middle small")
    yield dot(215, 180, "c1", 26)
    yield text(215, 184, "step 9", "middle small on")
    yield line(205, 155, 205, 102, "path")
    yield line(225, 155, 225, 102, "path")
    yield text(20, 172, "reads place 9 mod 4 = 1:", "small")
    yield text(20, 190, "h of step 5", "small")
    yield text(252, 172, "then writes there", "small")
    yield text(252, 190, "h of step 9", "small")
    yield text(20, 230, "Nothing is moved. A state is these places and the number of the step.", "small")


def noise(errors: dict[str, float]) -> Iterator[str]:
    """Errors of runtimes in units of noise, beside what passes.

    Args:
        errors: Name -> error in noises.
    """
    places = {value: 24 + 42 * value for value in range(11)}
    yield text(20, 24, "Largest errors against float64, in units of the network's own rounding noise")
    yield f'<rect class="band" x="24" y="40" width="{places[8] - 24}" height="110"/>'
    yield text(places[8] - 6, 56, "passes", "small end")
    yield text(places[8] + 6, 56, "fails", "small")
    yield line(24, 150, places[10], 150)
    yield from (text(x, 168, str(value), "middle small") for value, x in places.items())
    for row, (name, error) in enumerate(errors.items()):
        y = 52 + 18 * row
        yield dot(24 + 42 * error, y, "used", 5)
        aside = (34 + 42 * error, "small") if error < 5 else (14 + 42 * error, "small end")
        yield text(aside[0], y + 4, f"{name} {error:g}", aside[1])
    yield text(20, 192, "0: exactly float64. 1: what rounding every operation once does. 8: the limit.", "small")


# of the network of docs/tutorials/own-module.md, as drnn-export printed them
ERRORS = {"torch": 0.07, "openvino": 0.07, "onnxruntime-cpu": 0.08, "native": 0.11, "tract": 0.63}


def pictures() -> dict[str, str]:
    """Name of a file -> its text."""
    return {
        "fold.svg": picture(470, 276, "A dilated layer as a batch of phases", fold()),
        "cone.svg": picture(466, 318, "The steps of each layer that reach the last output", cone()),
        "state.svg": picture(520, 244, "A delay line as a ring of four places", state()),
        "noise.svg": picture(
            680, 206, "Errors of five runtimes in units of noise, and the limit of eight", noise(ERRORS)
        ),
    }


if __name__ == "__main__":
    for name, content in pictures().items():
        (FOLDER / name).write_text(content, encoding="utf-8")
