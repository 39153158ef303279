"""The graphs that a checkpoint is checked on: form x emission x precision, and further batches, lengths and chunkings.

The first set has batch 1 and the task's length, chunks of 32 steps and single steps. The others vary one thing each,
with one emission: batch, pruning and chunk; a length that the largest dilation divides; one shorter than it; and, where
the task's own length is divided by it, one that is not.
"""

from __future__ import annotations

import dataclasses

from drnn_core.errors import InputError
from drnn_deploy.exporter.options import CHUNK, ExportOptions, graph_requests
from drnn_deploy.planner.plan import task_length
from drnn_export.emitter.emit import NODE_BUDGET, estimate
from drnn_export.emitter.request import GraphRequest
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import ModelSpec

FORMS: dict[str, tuple[str, ...]] = {  # with the emissions that are checked where nobody named any
    "sequence": ("fused",),  # unrolled, most of them are too large for some runtime
    "chunk": ("fused", "unrolled", "mixed"),
    "step": ("fused", "unrolled", "skewed"),
}
_ODD_BATCH, _ODD_CHUNK, _SMALL_BATCH = 5, 7, 3
_PROFILE = (1, 2, 4)  # of a dynamic batch


@dataclasses.dataclass(frozen=True)
class Selection:
    """What is checked. An empty entry stands for all that a bundle has, or for a checkpoint for `FORMS` in fp32."""

    forms: tuple[str, ...] = ()
    emissions: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class GraphSet:
    """The graphs of one bundle, whose whole sequences all have one length.

    Attributes:
        label: What tells its rows from those of other bundles.
        requests: The graphs to emit.
        profile: The smallest, usual and largest size of a dynamic batch.
    """

    label: str
    requests: tuple[GraphRequest, ...]
    profile: tuple[int, int, int] = _PROFILE


def plan_graphs(checkpoint: Checkpoint, selection: Selection) -> tuple[list[GraphSet], list[str]]:
    """Decide on which graphs to check a checkpoint.

    Args:
        checkpoint: The network.
        selection: What was asked for.

    Returns:
        The graphs, and sentences on what was asked for and cannot be emitted.

    Raises:
        InputError: No graph can be emitted, or one that was asked for is over the node budget.
    """
    forms = [form for form in FORMS if form in (selection.forms or FORMS)]
    builder = VariantBuilder(checkpoint, selection)
    sets = [GraphSet("", tuple(request for form in forms for request in builder.all_of(form)))]
    if not sets[0].requests:
        raise builder.refusals[0]
    if "chunk" in forms:
        sets.append(GraphSet(f"B={_ODD_BATCH}", builder.one_of("chunk", chunk=_ODD_CHUNK, batch=_ODD_BATCH)))
    if "sequence" in forms:
        whole = builder.one_of("sequence", batch=_ODD_BATCH, prune=False)
        same = all(
            _evaluations(builder.spec, entry, prune=True) == _evaluations(builder.spec, entry) for entry in whole
        )
        sets.append(GraphSet(f"B={_ODD_BATCH}{'' if same else ' unpruned'}", whole))
        for length in other_lengths(builder.spec, builder.length):
            sets.append(_dynamic(builder, length))
    notes = [f"left out: {error.message}" for error in builder.refusals]
    return [entry for entry in sets if entry.requests], list(dict.fromkeys(notes))


def other_lengths(spec: ModelSpec, length: int) -> list[int]:
    """The lengths to check beside `length`: divided by the largest dilation, shorter than it, and not divided by it.

    A kind of length that is there already gets no other, and none is much longer than the network's own sequences.

    Args:
        spec: A network with dilations of its own.
        length: Time steps of the network's own sequences.

    Returns:
        Up to three lengths, in time steps.
    """
    largest = max(spec.dilations)
    wanted = [largest, largest // 2 + 1]
    if length % largest == 0:
        wanted.append(largest + largest // 2 + 1)
    return [other for other in dict.fromkeys(wanted) if other != length and other <= 2 * length]


def _dynamic(builder: VariantBuilder, length: int) -> GraphSet:
    """Graphs of any batch, or of a small one where the emission has static shapes."""
    if requests := builder.one_of("sequence", length=length, batch=None):
        return GraphSet(f"T={length} B={':'.join(map(str, _PROFILE))}", requests)
    return GraphSet(f"T={length} B={_SMALL_BATCH}", builder.one_of("sequence", length=length, batch=_SMALL_BATCH))


class VariantBuilder:
    """Makes the requests of one checkpoint and remembers what cannot be emitted."""

    def __init__(self, checkpoint: Checkpoint, selection: Selection) -> None:
        self.refusals: list[InputError] = []
        self.spec = checkpoint.dilated
        self.length = task_length(checkpoint) or _usual_length(checkpoint)
        self._checkpoint, self._selection = checkpoint, selection

    def all_of(self, form: str) -> list[GraphRequest]:
        """Every emission and precision of a form, at batch 1; refusals are remembered where the user asked for it."""
        emissions = self._selection.emissions or FORMS[form]
        chosen: list[GraphRequest] = []
        for precision in self._precisions():
            requests = [self._request(form, emission, precision) for emission in emissions]
            emitted = [request for request in requests if isinstance(request, GraphRequest)]
            if not emitted or self._selection.emissions:
                self.refusals += [request for request in requests if isinstance(request, InputError)]
            chosen += emitted if self._selection.emissions else filter(self._is_small, emitted)
        return chosen

    def one_of(self, form: str, **changes: int | bool | None) -> tuple[GraphRequest, ...]:
        """The first emission of a form that can be had, in every precision, with other lengths or batches."""
        chosen = []
        for precision in self._precisions():
            for emission in self._selection.emissions or FORMS[form]:
                request = self._request(form, emission, precision, **changes)
                if isinstance(request, GraphRequest) and self._is_small(request):
                    chosen.append(request)
                    break
        return tuple(chosen)

    def _precisions(self) -> tuple[str, ...]:
        return self._selection.precisions or ("fp32",)

    def _is_small(self, request: GraphRequest) -> bool:
        return estimate(self.spec, request).nodes <= NODE_BUDGET

    def _request(
        self, form: str, emission: str, precision: str, **changes: int | bool | None
    ) -> GraphRequest | InputError:
        given = {"length": self.length, "chunk": CHUNK, "batch": 1, "profile": _PROFILE, **changes}
        options = ExportOptions(forms=(form,), emissions=(emission,), precisions=(precision,), **given)  # type: ignore[arg-type]
        try:
            (request,) = graph_requests(self._checkpoint, options)
        except InputError as error:
            return error
        return request


def _evaluations(spec: ModelSpec, request: GraphRequest, *, prune: bool = False) -> int:
    return dataclasses.replace(request, prune=prune).plan(spec).evaluations


def _usual_length(checkpoint: Checkpoint) -> int:
    """For a network that does not say how long its sequences are: as its examples, or as reaches every layer twice."""
    if checkpoint.examples is not None:
        return int(checkpoint.examples.inputs.shape[1])
    return 2 * max(checkpoint.dilated.dilations) + 1
