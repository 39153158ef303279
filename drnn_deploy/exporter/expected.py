"""How long a check is likely to take, from the planner's costs: what a bar of progress needs, right within a few times.

The factors are runs of `make demo`'s network beside ONNX Runtime on one thread (README.md).
"""

from __future__ import annotations

import dataclasses

from drnn_deploy.planner.cost_model import load_costs, workload
from drnn_deploy.planner.native_cost import native_microseconds
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle import GraphInfo
from drnn_runtimes.runtime import Runtime

_SEQUENCES = 24  # of the standard cases together
_LATER_STEPS = 256  # of a stream's case, as an order of magnitude
_LOAD, _NODE = 0.2, 5e-4  # seconds, and for each node of a graph that is read
_TIMING = 1.0
_AS_LONG = {"torch": 4.0, "openvino": 8.0, "tract": 9.0, "tensorrt-network": 60.0, "reference": 0.1}  # as ONNX Runtime


def check_seconds(spec: ModelSpec, runtime: Runtime, graph: GraphInfo) -> float:
    """Estimate how long a runtime takes to be checked on a graph.

    Args:
        spec: The network.
        runtime: The runtime.
        graph: The graph.
    """
    of_one = dataclasses.replace(graph, batch=graph.batch or 1)  # a free batch may be of no such graph
    request = GraphRequest.of(of_one)
    calls = _SEQUENCES * (max(1, _LATER_STEPS // graph.steps) if graph.states else 1) / (graph.batch or 1)
    if runtime.name == "native":
        run = native_microseconds(spec, request)
    else:
        run = load_costs(spec.cell).run_microseconds(workload(spec, request)) * _AS_LONG.get(runtime.name, 1.0)
    load = _LOAD + (_NODE * graph.nodes if runtime.reads_graph else 0)
    return load + max(1.0, calls) * run * 1e-6 + _TIMING
