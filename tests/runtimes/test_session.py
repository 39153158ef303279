"""What every session has in common, whatever runs underneath: which numbers it takes."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from drnn_core.errors import InputError
from drnn_deploy import ExportOptions, export
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.registry import find_runtime
from drnn_runtimes.runtime import Runtime
from drnn_runtimes.session import Arrays
from drnn_runtimes.streaming.stream import Stream
from tests.networks import make_case

RUNTIMES = ("native", "onnxruntime-cpu", "openvino", "reference", "tensorrt-network", "torch", "tract")
pytestmark = pytest.mark.optional_runtimes("native", "openvino", "tract")
SPEC = ModelSpec("gru", (5, 4), (1, 2), Continuous(2), Head("sequence", 3))
RANGE = 4.0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Whole sequences and chunks, which take numbers up to 4."""
    options = ExportOptions(length=4, forms=("sequence", "chunk"), chunk=4, batch=1, engines=(), runtimes=())
    opened = export(make_case(SPEC, 1, 4).checkpoint(), tmp_path_factory.mktemp("session") / "bundle", options).bundle
    graphs = tuple(dataclasses.replace(graph, largest_input=RANGE) for graph in opened.graphs)
    return dataclasses.replace(opened, graphs=graphs)


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> Iterator[Runtime]:
    runtime = find_runtime(request.param)
    if not runtime.availability().usable:
        pytest.skip(runtime.availability().detail)
    return runtime


def arrays(graph: GraphInfo) -> tuple[Arrays, Arrays]:
    inputs, outputs = ({t.name: np.zeros(t.shape, np.float32) for t in side} for side in (graph.inputs, graph.outputs))
    return inputs, outputs


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.5 * RANGE])
@pytest.mark.parametrize("form", ["sequence", "chunk"])
def test_a_run_refuses_what_is_no_number_of_the_graphs(
    runtime: Runtime, form: str, value: float, bundle: Bundle
) -> None:
    """Also where another number is too large: NaN is larger than nothing."""
    graph = bundle.graph(form)
    inputs, _ = arrays(graph)
    inputs["input"][0, 2, 1] = value
    with runtime.load(bundle, graph) as session:
        with pytest.raises(InputError, match=r"samples hold NaN or infinity|samples reach 6"):
            session.run(inputs)
        inputs["input"][0, 1, 0] = 2 * RANGE
        with pytest.raises(InputError, match=r"samples hold NaN or infinity|samples reach 8"):
            session.run(inputs)
        inputs["input"][...] = RANGE
        assert np.isfinite(session.run(inputs)["output"]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_run_refuses_states_that_are_no_numbers(runtime: Runtime, value: float, bundle: Bundle) -> None:
    graph = bundle.graph("chunk")
    inputs, _ = arrays(graph)
    inputs["state_l1_h"][0, 1, 3] = value
    words = "the values of state_l1_h hold NaN or infinity, which would stay in the state"
    with runtime.load(bundle, graph) as session, pytest.raises(InputError, match=words):
        session.run(inputs)


@pytest.mark.parametrize("form", ["sequence", "chunk"])
def test_a_bound_call_takes_numbers_as_they_are(runtime: Runtime, form: str, bundle: Bundle) -> None:
    """Beyond the range as within it, when it is bound and when it is called: on every runtime alike."""
    graph = bundle.graph(form)
    inputs, outputs = arrays(graph)
    inputs["input"][...] = np.nan
    with runtime.load(bundle, graph) as session:
        call = session.bind(inputs, outputs)
        call()
        inputs["input"][...] = 1.5 * RANGE
        for name, _ in graph.states:
            inputs[name][...] = 0
        call()
    wide = dataclasses.replace(graph, largest_input=2 * RANGE)
    with runtime.load(bundle, wide) as session:
        for name, right in session.run(inputs).items():
            np.testing.assert_allclose(outputs[name], right, atol=1e-6)


def test_a_closed_session_runs_nothing_more(runtime: Runtime, bundle: Bundle) -> None:
    """Nor what it bound, nor its streams: of torch they would run under whatever the program allows."""
    graph = bundle.graph("chunk")
    inputs, outputs = arrays(graph)
    with runtime.load(bundle, graph) as session:
        assert not session.closed
        call, stream = session.bind(inputs, outputs), Stream(session, bundle, graph)
    assert session.closed
    uses: list[Callable[[], object]] = [
        call,
        lambda: session.run(inputs),
        lambda: session.bind(inputs, outputs),
        lambda: stream.push(inputs["input"]),
        stream.state,
        lambda: Stream(session, bundle, graph).push(inputs["input"]),
    ]
    for use in uses:
        with pytest.raises(InputError, match="the session is closed"):
            use()
    stream.close()


def test_a_session_is_closed_where_its_block_fails(runtime: Runtime, bundle: Bundle) -> None:
    graph = bundle.graph("sequence")
    with contextlib.suppress(KeyError), runtime.load(bundle, graph) as session:
        raise KeyError
    assert session.closed
    inputs, outputs = arrays(graph)
    with pytest.raises(InputError, match="the session is closed"):
        session.bind(inputs, outputs)


def test_a_graph_of_another_network_is_refused(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """Those that read the weights would fail at the first product."""
    other = dataclasses.replace(SPEC, hidden=(5, 6))
    options = ExportOptions(forms=("chunk",), chunk=4, engines=(), runtimes=())
    graph = export(make_case(other, 1, 4).checkpoint(), tmp_path / "other", options).bundle.graphs[0]
    with pytest.raises(InputError, match="chunk4/fused is no graph of") as refused, runtime.load(bundle, graph):
        pass
    assert refused.value.fix == "Take one of its own: sequence/fused, chunk4/fused."
