"""The lint beside NVIDIA's own parser and compiler, over generated nodes: who refuses what.

    python -m tests.export.lint.confusion 3000 > table.md

Where the lint says error and an engine is built all the same, ONNX Runtime decides: it refuses the node too, or the
rule is one of `MISREAD`, or it is a false alarm.
"""

from __future__ import annotations

import collections
import dataclasses
import random
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import onnxruntime

from drnn_export.lint.linter import MISREAD, Finding, lint_file
from tests.export.lint.drafts import Draft, changed, feeds, model
from tests.export.lint.examples import examples
from tests.export.lint.random_nodes import MAKERS
from tests.export.lint.rtx_verdicts import Verdict, verdicts

RECURRENT = ("RNN", "GRU", "LSTM")
BUILD_SECONDS = 20.0  # the compiler of these small nodes takes less than one


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a node.

    Attributes:
        draft: The node.
        errors: What the lint says of it.
        verdict: What the parser says, and the compiler where the parser takes it.
        runs: Whether ONNX Runtime runs it; None where nobody asked.
    """

    draft: Draft
    errors: tuple[Finding, ...]
    verdict: Verdict
    runs: bool | None = None

    @property
    def cell(self) -> str:
        """Its place in the table."""
        if not self.verdict.accepted:
            return "refused, error" if self.errors else "refused, passed"
        if not self.errors:
            return "built, passed"
        if any(finding.rule in MISREAD | {"frozen"} for finding in self.errors):
            return "built, read differently"
        return "built, error: false alarm" if self.runs else "built, error: no valid ONNX"


CELLS = (
    *("refused, error", "refused, passed", "built, passed", "built, read differently"),
    *("built, error: no valid ONNX", "built, error: false alarm"),
)


def drafts(rng: random.Random, count: int, seeds: Sequence[Draft] = ()) -> list[Draft]:
    """Nodes that are right or, more often, changed in one or two things.

    Args:
        rng: What decides.
        count: How many.
        seeds: Right nodes, besides the random ones.
    """
    others = [name for name in MAKERS if name not in RECURRENT]
    by_operator: dict[str, list[Draft]] = collections.defaultdict(list)
    for seed in seeds:
        by_operator[seed.operator].append(seed)
    sources: list[Callable[[], Draft]] = [
        lambda: MAKERS[rng.choice(RECURRENT)](rng),
        lambda: MAKERS[rng.choice(others)](rng),
    ]
    if seeds:
        sources.append(lambda: rng.choice(by_operator[rng.choice(sorted(by_operator))]))
    made: list[Draft] = []
    while len(made) < count:
        draft = sources[len(made) % len(sources)]()
        for _ in range(rng.choice((0, 1, 1, 2))):
            draft = changed(draft, rng)
        made.append(draft)
    return made


def outcomes(nodes: Iterable[Draft], folder: Path, *, build: bool = True) -> list[Outcome]:
    """Ask everyone. Without `build` what the parser takes counts as built."""
    files: dict[Path, Draft] = {}
    for draft in nodes:
        path = folder / f"{len(files)}.onnx"
        path.write_bytes(model(draft).SerializeToString())
        files[path] = draft
    found = verdicts(files)
    if build:
        taken = {path: feeds(draft) for path, draft in files.items() if found[path].accepted}
        found |= verdicts(taken, build=True, fed=taken, seconds=BUILD_SECONDS)
    made = []
    for path, draft in files.items():
        findings = lint_file(path, ["tensorrt-rtx"])["tensorrt-rtx"]
        errors = tuple(finding for finding in findings if finding.severity == "error")
        runs = _runs(path, draft) if errors and found[path].accepted else None
        made.append(Outcome(draft, errors, found[path], runs))
    return made


def _runs(path: Path, draft: Draft) -> bool:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        session.run(None, feeds(draft))
    except Exception:  # of pybind's own kinds
        return False
    return True


def table(found: Iterable[Outcome], group: Callable[[Outcome], Iterable[str]]) -> dict[str, Mapping[str, int]]:
    """How many outcomes of each group are in each cell."""
    counted: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for outcome in found:
        for name in {*group(outcome)}:
            counted[name][outcome.cell] += 1
    return {name: counted[name] for name in sorted(counted)}


def by_operator(outcome: Outcome) -> list[str]:
    """The node's operator, and all."""
    return [outcome.draft.operator, "(all)"]


def by_rule(outcome: Outcome) -> list[str]:
    """The rules that the lint names."""
    return [finding.rule for finding in outcome.errors]


def markdown(title: str, rows: Mapping[str, Mapping[str, int]]) -> str:
    """A table of counts."""
    lines = [f"| {title} | {' | '.join(CELLS)} |", f"|---|{'--:|' * len(CELLS)}"]
    lines += [f"| {name} | {' | '.join(f'{cells.get(cell, 0):,}' for cell in CELLS)} |" for name, cells in rows.items()]
    return "\n".join(lines)


def described(outcome: Outcome) -> str:
    """A node for a message: enough to make it again."""
    draft = outcome.draft
    inputs = [None if v is None else f"{v.dtype}{list(v.shape)}" for v in draft.inputs]
    parts = {
        f"{draft.operator} of opset {draft.opset}": draft.attributes,
        "inputs": inputs,
        "fixed": sorted(draft.fixed),
        "free": sorted(draft.free),
        "changed": draft.change,
        "TensorRT": outcome.verdict.details[-300:],
        "lint": [f"{finding.rule}: {finding.what}" for finding in outcome.errors],
    }
    return ", ".join(f"{name} {value}" for name, value in parts.items())


def main() -> None:
    """Print the tables for the documentation."""
    with tempfile.TemporaryDirectory() as folder:
        nodes = drafts(random.Random(0), int(sys.argv[1]), examples(Path(folder)))
        found = outcomes(nodes, Path(folder))
    operators = table(found, by_operator)
    main_rows = {name: operators[name] for name in (*RECURRENT, "(all)")}
    sys.stdout.write(f"{markdown('operator', main_rows)}\n\n{markdown('rule', table(found, by_rule))}\n")
    for outcome in found:
        if outcome.cell in ("refused, passed", "built, error: false alarm"):
            sys.stderr.write(f"{outcome.cell}: {described(outcome)}\n")


if __name__ == "__main__":
    main()
