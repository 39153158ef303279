"""A graph's file beside the graph that the bundle's weights make.

Numbers show a wrong graph on the inputs that are run; the file shows it on all others. A graph of this revision of the
emitter must be what `emit` makes, bit for bit but for the version of the package. One of another revision, or of a
bundle that does not say, may be written in another way, and is judged by its numbers alone.
"""

from __future__ import annotations

from drnn_core.errors import DeployError
from drnn_deploy.parity.results import FileResult
from drnn_export.emitter.emit import NODE_BUDGET, emit
from drnn_export.emitter.request import GraphRequest
from drnn_export.emitter.revision import EMITTER_REVISION
from drnn_export.onnx_diff import differences, edge_differences
from drnn_export.onnx_surgery import read_graph
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.bundle.bodies import count_nodes


def check_graph_file(bundle: Bundle, graph: GraphInfo) -> FileResult:
    """Compare one graph of a bundle with the graph that its weights make.

    Args:
        bundle: The bundle.
        graph: The graph.

    Returns:
        What differs. A file that cannot be read has the exit code of a bad file.
    """
    try:
        model = read_graph(bundle, graph)
        budget = max(NODE_BUDGET, 2 * count_nodes(model))
        right = emit(bundle.spec, bundle.weights, GraphRequest.of(graph), node_budget=budget)
    except DeployError as error:
        return FileResult(graph.file, False, (error.message,), exit_code=error.exit_code)
    changed = tuple(map(str, (*edge_differences(model, right), *differences(model, right))))
    if not changed:
        return FileResult(graph.file, True)
    if bundle.emitter == EMITTER_REVISION:
        return FileResult(graph.file, False, changed)
    made = f"revision {bundle.emitter} of the emitter" if bundle.emitter else "a version that names no revision"
    note = f"{graph.file} was written by {made}, not {EMITTER_REVISION}: it was judged by its numbers alone"
    return FileResult(graph.file, True, note=f"{note}, and the first difference is: {changed[0]}")
