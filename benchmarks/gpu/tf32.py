"""What TF32 does to a network on a GPU: errors with and without it, by switch and by NVIDIA_TF32_OVERRIDE.

The variable is read when CUDA's libraries are loaded, so each of its values has a process of its own, which the caller
starts; here each of the runtime's own switch is tried. ONNX Runtime is used directly: the project's own runtime sets
the variable.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from benchmarks.gpu.bundles import open_bundle
from benchmarks.gpu.plan import OVERRIDES, Row, Rows, Setting
from drnn_core.errors import RuntimeUnavailableError
from drnn_deploy.parity.known_answers import StoredAnswers
from drnn_deploy.parity.one_case import check_case
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.onnxrt.cuda_libraries import load_cuda
from drnn_runtimes.onnxrt.providers import PROVIDERS
from drnn_runtimes.onnxrt.runtime import OnnxRuntimeSession
from drnn_runtimes.registry import find_runtime
from drnn_runtimes.session import Session
from drnn_runtimes.torch import float32_products


def rounding(setting: Setting, network: str, runtime: str, override: str) -> Rows:
    """The largest error over the golden data, without and with the runtime's own TF32.

    Failed where float32 is not float32 although both the switch and the variable say that it is.
    """
    bundle = open_bundle(setting, network, "sequence", runtime)
    graph = next(graph for graph in bundle.graphs if graph.precision == "fp32")
    wrong = ""
    for allowed in (False, True):
        row = _worst(bundle, graph, runtime, allowed)
        yield {"graph": graph.name, "override": override, "allowed": allowed, **row}
        if not (allowed or row["passed"]) and override == OVERRIDES[0]:
            wrong = f"{row['in_noise']} times the noise although TF32 is off"
    return {"status": "failed", "reason": wrong} if wrong else {"status": "ok"}


def _worst(bundle: Bundle, graph: GraphInfo, runtime: str, allowed: bool) -> Row:
    with _session(bundle, graph, runtime, allowed) as session:
        found = [check_case(session, bundle, graph, case)[0] for case in StoredAnswers(bundle).cases(graph)]
    worst = max(found, key=lambda case: (not case.passed, case.in_noise or 0.0))
    return {"passed": all(case.passed for case in found), "error": worst.absolute, "in_noise": worst.in_noise}


@contextlib.contextmanager
def _session(bundle: Bundle, graph: GraphInfo, runtime: str, allowed: bool) -> Iterator[Session]:
    """The graph on a runtime whose own switch for TF32 is set."""
    if runtime.startswith("torch"):
        with find_runtime(runtime).load(bundle, graph) as session, float32_products(tf32=allowed):
            yield session
        return
    import onnxruntime

    device = runtime.removeprefix("onnxruntime-")
    provider = PROVIDERS[device]  # type: ignore[index]
    settings = {"use_tf32": str(int(allowed))} if device == "cuda" else {}
    if device == "cuda":
        load_cuda()
    path = str(bundle.path(graph.file))
    opened = onnxruntime.InferenceSession(path, providers=[(provider, settings)], enable_fallback=0)
    if opened.get_providers()[0] != provider:
        raise RuntimeUnavailableError(f"{runtime} fell back to {opened.get_providers()[0]}")
    yield OnnxRuntimeSession(opened, graph)
