"""What is measured of a network: forms, lengths and batches, and the bundles with the graphs for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drnn_core.errors import InputError, refuse_ignored
from drnn_core.types import Form
from drnn_deploy.bench.answers import answer_for
from drnn_deploy.exporter.contents import write_bundle
from drnn_deploy.exporter.options import ExportOptions, graph_requests
from drnn_deploy.planner.plan import task_length
from drnn_export.emitter.emit import estimate
from drnn_export.emitter.request import GraphRequest
from drnn_runtimes.bundle import Bundle, GraphInfo

if TYPE_CHECKING:
    from drnn_models.checkpoint import Checkpoint

BLOCK = 64  # time steps of a piece of a stream, beside single steps
_NODES = 2_000  # of graphs that nobody asked for: beyond, a runtime takes seconds for each
_EMISSIONS: dict[Form, tuple[str, ...]] = {
    "sequence": ("fused", "mixed", "unrolled"),
    "chunk": ("fused", "mixed", "unrolled"),
    "step": ("fused", "skewed", "unrolled"),
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """One kind of run.

    Attributes:
        form: Whole sequences, pieces of a stream, or single steps.
        steps: Time steps of a run.
        batch: Sequences of a run.
    """

    form: Form
    steps: int
    batch: int

    @property
    def name(self) -> str:
        """In words, as in tables."""
        what = {
            "sequence": f"whole sequences of {self.steps:,} steps",
            "chunk": f"a stream, {self.steps:,} steps at a time",
            "step": "a stream, a step at a time",
        }[self.form]
        return f"{what}, batch {self.batch}"


def checkpoint_settings(
    checkpoint: Checkpoint,
    forms: Sequence[Form],
    length: int | None,
    blocks: Sequence[int],
    batches: Sequence[int],
) -> list[Setting]:
    """The settings of a checkpoint.

    Args:
        checkpoint: The network.
        forms: Only these; empty for all. Whole sequences are left out where nobody knows how long they are.
        length: Time steps of whole sequences. Default: the task's.
        blocks: Time steps of the pieces of streams; empty for 1 and `BLOCK`.
        batches: Sequences of a run; empty for 1.

    Raises:
        InputError: Sequences are asked for, and their length is unknown; or a length or block has no form.
    """
    whole = length or task_length(checkpoint)
    if forms and "sequence" in forms and whole is None:
        raise InputError("the checkpoint does not say how long its sequences are", "Add --length STEPS.")
    pieces: list[tuple[Form, int]] = [("step" if steps == 1 else "chunk", steps) for steps in blocks or (1, BLOCK)]
    left_out = [steps for form, steps in pieces if blocks and forms and form not in forms]
    refuse_ignored(
        (length is not None and forms and "sequence" not in forms, "--length", "--form sequence"),
        (left_out, f"--steps {', '.join(map(str, left_out))}", "--form step for 1, --form chunk for more"),
    )
    whole_runs: list[tuple[Form, int]] = [("sequence", whole)] if whole else []
    settings = [
        Setting(form, steps, batch)
        for form, steps in (*whole_runs, *pieces)
        for batch in batches or (1,)
        if not forms or form in forms
    ]
    return settings


def bundle_settings(bundle: Bundle, batches: Sequence[int]) -> list[tuple[Setting, Bundle]]:
    """The settings of a bundle, each with the bundle's graphs for it.

    Args:
        bundle: An open bundle.
        batches: Sequences of a run; empty for those of its graphs, or 1 where they take any.

    Raises:
        InputError: No graph takes one of the batches.
    """
    fitting: dict[Setting, list[GraphInfo]] = {}
    for graph in bundle.graphs:
        own = (graph.batch,) if graph.batch else tuple(batches) or (1,)
        for batch in own:
            if not batches or batch in batches:
                fitting.setdefault(Setting(graph.form, graph.steps, batch), []).append(graph)
    if missing := sorted({*batches} - {setting.batch for setting in fitting}):
        raise InputError(
            f"{bundle.folder} has no graph that takes a batch of {missing[0]}",
            "Measure the checkpoint, or export it with --batch dynamic.",
        )
    return [(setting, dataclasses.replace(bundle, graphs=tuple(graphs))) for setting, graphs in fitting.items()]


def write_row(
    checkpoint: Checkpoint, setting: Setting, emissions: Sequence[str], folder: Path, *, quick: bool = False
) -> Bundle:
    """Write a bundle with the graphs of a setting.

    Args:
        checkpoint: The network.
        setting: What will be measured.
        emissions: How the graphs are written; empty for all that suit the form and are not large.
        folder: The bundle's folder.
        quick: Whether one graph is enough where no emission is asked for.

    Raises:
        InputError: None can be emitted, or this machine lacks the memory.
    """
    requests = list(_requests(checkpoint, setting, emissions))
    if not emissions:
        requests = _distinct(checkpoint, requests)[: 1 if quick else None]
    answer = answer_for(checkpoint.dilated, checkpoint.weights, requests)
    return write_bundle(checkpoint, folder, requests, [answer], ExportOptions())


def _requests(checkpoint: Checkpoint, setting: Setting, emissions: Sequence[str]) -> Iterator[GraphRequest]:
    for emission in emissions or _EMISSIONS[setting.form]:
        options = ExportOptions(
            length=setting.steps,
            forms=(setting.form,),
            chunk=setting.steps,
            batch=setting.batch,
            emissions=(emission,),
        )
        try:
            yield from graph_requests(checkpoint, options)
        except InputError:
            if emissions or emission == "fused":
                raise


def _distinct(checkpoint: Checkpoint, requests: Sequence[GraphRequest]) -> list[GraphRequest]:
    """The first, and those that are small and not the same as one before."""
    chosen: dict[int, GraphRequest] = {}
    for request in requests:
        nodes = estimate(checkpoint.dilated, request).nodes
        if not chosen or (nodes <= _NODES and nodes not in chosen):
            chosen[nodes] = request
    return list(chosen.values())
