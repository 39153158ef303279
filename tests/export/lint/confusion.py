"""The lint beside NVIDIA's own parser and compiler, over generated nodes: who refuses what.

    python -m tests.export.lint.confusion 3000 > table.md

An engine is of some sizes: where the compiler refuses those, and the lint says why once they are in the graph, another
engine of that graph may be built. Where the lint says error and an engine is built all the same, ONNX Runtime decides:
it refuses the node too, or the rule is one of `MISREAD`, or it is a false alarm.
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
        at_sizes: What the lint says where free axes have the sizes, and shapes the values, that it is compiled for;
            empty where nobody asked.
    """

    draft: Draft
    errors: tuple[Finding, ...]
    verdict: Verdict
    runs: bool | None = None
    at_sizes: tuple[Finding, ...] = ()

    @property
    def cell(self) -> str:
        """Its place in the table."""
        if not self.verdict.accepted:
            if self.errors:
                return "refused, error"
            return "refused, error at its sizes" if self.at_sizes else "refused, passed"
        if not self.errors:
            return "built, passed"
        if any(finding.rule in MISREAD | {"frozen"} for finding in self.errors):
            return "built, read differently"
        return "built, error: false alarm" if self.runs else "built, error: no valid ONNX"


CELLS = (
    *("refused, error", "refused, error at its sizes", "refused, passed", "built, passed", "built, read differently"),
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
        errors, verdict = _errors(path), found[path]
        runs = _runs(path, draft) if errors and verdict.accepted else None
        sized = _with_sizes(draft)
        if errors or verdict.accepted or (sized.free, sized.fixed) == (draft.free, draft.fixed):
            made.append(Outcome(draft, errors, verdict, runs))
        else:  # another engine of the same graph may be built
            path.write_bytes(model(sized).SerializeToString())
            made.append(Outcome(draft, errors, verdict, runs, _errors(path)))
    return made


def _errors(path: Path) -> tuple[Finding, ...]:
    findings = lint_file(path, ["tensorrt-rtx"])["tensorrt-rtx"]
    return tuple(finding for finding in findings if finding.severity == "error")


def _with_sizes(draft: Draft) -> Draft:
    """The draft without free axes, and with what may be a shape as an initialiser."""
    whole = {i for i, value in enumerate(draft.inputs) if value is not None and value.dtype.kind == "i"}
    shapes = {i for i in whole if draft.inputs[i].ndim <= 1}  # type: ignore[union-attr]
    return dataclasses.replace(draft, fixed=draft.fixed | shapes, free=frozenset())


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
