"""What of the parity matrix is checked, and how."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from drnn_core.arguments import checked_fields
from drnn_core.errors import InputError
from drnn_deploy.matrix import other_graph
from drnn_deploy.parity.graphs import named_graphs
from drnn_deploy.parity.known_answers import REFERENCE_MINUTES
from drnn_deploy.parity.tolerance import DEFAULT, Tolerance
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.registry import RUNTIMES, find_runtime, require, with_threads
from drnn_runtimes.runtime import Runtime


@checked_fields
@dataclasses.dataclass(frozen=True)
class MatrixOptions:
    """How a matrix is checked.

    Attributes:
        runtimes: Only these, each of which must be usable. Empty: all that are.
        required: The runtimes that must take part, beside others.
        forms: Of a bundle, only its graphs of these forms; of a checkpoint, the forms to export. Empty: all there are,
            or what `drnn_deploy.matrix.variants` says.
        emissions: The same for emissions.
        precisions: The same for precisions.
        task: The task to measure, in place of the network's own.
        task_data: How many sequences of the task's test split to measure.
        golden: Of a bundle, whether its golden data is believed, in place of computing float64 from its weights.
        reference_minutes: The longest that the float64 reference may take. More is refused beforehand.
        against: Of a bundle, the checkpoint that it is said to be from.
        inputs: Of a bundle, a file with sequences that are checked like the standard cases.
        outputs: A file with what they gave elsewhere, which is judged like a runtime's outputs.
        graph: Of a bundle, an ONNX file that takes the place of its graphs; see `drnn_deploy.matrix.other_graph`.
        renames: `A=B`: the input or output A of that file is B of the bundle's graphs.
        threads: Of each runtime that has a setting for that. None: its own.
        tolerance: Which errors pass.
    """

    runtimes: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()
    emissions: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    task: str | None = None
    task_data: int | None = None
    golden: bool = False
    reference_minutes: float = REFERENCE_MINUTES
    against: Path | None = None
    inputs: Path | None = None
    outputs: Path | None = None
    graph: Path | None = None
    renames: tuple[str, ...] = ()
    threads: int | None = None
    tolerance: Tolerance = DEFAULT

    def chosen(self) -> list[Runtime]:
        """The runtimes to check, in the usual order.

        Raises:
            InputError: A name is unknown, threads are asked of a runtime without a setting for them, or a graph is to
                be checked on one that reads none.
            RuntimeUnavailableError: One of `runtimes` is missing here.
        """
        usual = {name for name, runtime in RUNTIMES.items() if not (self.golden and runtime.is_reference)}
        usual = usual if self.graph is None else {*other_graph.RUNTIMES}
        named = {runtime.name for runtime in require(self.runtimes)} or usual
        named |= {find_runtime(name).name for name in self.required}
        runtimes = [runtime for name, runtime in RUNTIMES.items() if name in named]
        if self.graph and (others := [runtime.name for runtime in runtimes if not runtime.reads_graph]):
            readers = ", ".join(name for name, runtime in RUNTIMES.items() if runtime.reads_graph)
            what = f"{others[0]} would not read the graph: it computes what the bundle's weights make"
            raise InputError(what, f"These run the file of --graph: {readers}.")
        return with_threads(runtimes, self.threads, {*self.runtimes, *self.required})


USUAL = MatrixOptions()


def select(bundle: Bundle, options: MatrixOptions) -> Bundle:
    """The bundle with only the graphs that the options select.

    Args:
        bundle: An open bundle.
        options: Of which forms, emissions and precisions count.

    Raises:
        InputError: One of them has no graph.
    """
    wanted = {"form": options.forms, "emission": options.emissions, "precision": options.precisions}
    return dataclasses.replace(bundle, graphs=tuple(named_graphs(bundle.folder, bundle.graphs, **wanted)))
