"""What threads share: bundles and sessions, on every runtime that runs here. Each stream has a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_deploy import ExportOptions, export
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.registry import RUNTIMES, chosen_runtime, find_runtime
from drnn_runtimes.streaming.stream import Stream
from tests.networks import random_inputs, random_weights

pytestmark = pytest.mark.optional_runtimes("native", "openvino", "tract")

LENGTH, CHUNK, THREADS, TIMES = 12, 3, 6, 5


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    spec = ModelSpec("lstm", (16, 16), (1, 2), Continuous(2), Head("sequence", 3))
    options = ExportOptions(length=LENGTH, forms=("sequence", "chunk"), chunk=CHUNK, engines=(), runtimes=())
    return export(Checkpoint(spec, random_weights(spec, 1)), tmp_path_factory.mktemp("threads") / "b", options).bundle


def at_once(work: Callable[[int], NDArray[np.generic]]) -> list[list[NDArray[np.generic]]]:
    """What `work` gives of each thread's number, several times, all threads at the same time."""
    begin = threading.Barrier(THREADS)

    def repeated(number: int) -> list[NDArray[np.generic]]:
        begin.wait(60)
        return [work(number) for _ in range(TIMES)]

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(repeated, range(THREADS)))


def usable(name: str, bundle: Bundle, form: str) -> None:
    if not find_runtime(name).availability().usable or find_runtime(name).unsupported(bundle, bundle.graph(form)):
        pytest.skip(f"{name} does not run here")


@pytest.mark.parametrize("name", RUNTIMES)
def test_threads_share_a_session(name: str, bundle: Bundle) -> None:
    usable(name, bundle, "sequence")
    x = random_inputs(bundle.spec, THREADS, LENGTH, 2)
    with find_runtime(name).load(bundle, bundle.graph("sequence")) as session:
        alone = [session.run({"input": row[None]})["output"].copy() for row in x]
        together = at_once(lambda number: session.run({"input": x[number : number + 1]})["output"])
    for right, outputs in zip(alone, together, strict=True):
        for output in outputs:
            np.testing.assert_array_equal(output, right)


@pytest.mark.parametrize("name", RUNTIMES)
def test_streams_of_many_threads_share_a_session(name: str, bundle: Bundle) -> None:
    usable(name, bundle, "chunk")
    graph = bundle.graph("chunk")
    x = random_inputs(bundle.spec, THREADS, LENGTH, 3)
    with find_runtime(name).load(bundle, graph) as session:

        def streamed(number: int) -> NDArray[np.generic]:
            stream = Stream(session, bundle, graph)
            return np.concatenate([stream.push(x[number : number + 1, step : step + 2]) for step in range(0, 12, 2)], 1)

        alone = [streamed(number) for number in range(THREADS)]
        together = at_once(streamed)
    for right, outputs in zip(alone, together, strict=True):
        for output in outputs:
            np.testing.assert_array_equal(output, right)


def test_threads_share_a_bundle(bundle: Bundle) -> None:
    opened = Bundle.open(bundle.folder)
    x = random_inputs(bundle.spec, THREADS, LENGTH, 4)
    together = at_once(lambda number: opened.run(x[number : number + 1], runtime="reference"))
    for number, outputs in enumerate(together):
        for output in outputs:
            np.testing.assert_array_equal(output, bundle.run(x[number : number + 1], runtime="reference"))


def test_torch_stays_float32_until_the_last_thread_leaves() -> None:
    import torch

    from drnn_runtimes.torch import float32_products

    switch = torch.backends.mkldnn.matmul
    before = switch.fp32_precision
    switch.fp32_precision = "bf16"
    try:
        first, second = float32_products(), float32_products()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert switch.fp32_precision == "ieee"
        with float32_products(tf32=True):
            assert torch.backends.cuda.matmul.fp32_precision == "tf32"
        assert torch.backends.cuda.matmul.fp32_precision == "ieee"
        second.__exit__(None, None, None)
        assert switch.fp32_precision == "bf16"
    finally:
        switch.fp32_precision = before


def test_torch_is_not_under_the_autocast_of_a_thread_that_runs_it(bundle: Bundle) -> None:
    import torch

    x = random_inputs(bundle.spec, 1, LENGTH, 5)
    with find_runtime("torch").load(bundle, bundle.graph("sequence")) as session:
        right = session.run({"input": x})["output"]

        def cast() -> NDArray[np.generic]:
            with torch.autocast("cpu", torch.bfloat16):
                return session.run({"input": x})["output"]

        with ThreadPoolExecutor(1) as pool:
            np.testing.assert_array_equal(pool.submit(cast).result(60), right)


def threads_of_torch(bundle: Bundle, threads: int | None) -> set[int]:
    """In a run."""
    import torch

    seen = set()
    with chosen_runtime("torch", threads).load(bundle, bundle.graph("sequence")) as session:
        hook = torch.nn.modules.module.register_module_forward_pre_hook(lambda *_: seen.add(torch.get_num_threads()))
        try:
            session.run({"input": random_inputs(bundle.spec, 1, LENGTH, 6)})
        finally:
            hook.remove()
    return seen


def test_threads_of_a_run_are_set_where_there_is_a_setting(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert threads_of_torch(bundle, 2) == {2}
        assert threads_of_torch(bundle, None) == {1}  # for its products are small
        monkeypatch.setattr("drnn_runtimes.torch._SMALL", 1)
        assert threads_of_torch(bundle, None) == {3}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert {name for name, runtime in RUNTIMES.items() if runtime.has_threads} == {
        "onnxruntime-cpu",
        "openvino",
        "torch",
    }
    for name, runtime in RUNTIMES.items():
        if not runtime.has_threads:
            with pytest.raises(InputError, match=f"{name} has no setting for its threads"):
                chosen_runtime(name, 2)
