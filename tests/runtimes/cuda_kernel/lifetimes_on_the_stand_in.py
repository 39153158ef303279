"""What ends when, on a stand-in for libcuda: sessions, streams and runs that fail. It shows nothing of a GPU."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import pytest

from drnn_core.errors import EngineError, InputError
from drnn_models.spec import Head
from drnn_runtimes.cuda_kernel.device import Device, Driver
from drnn_runtimes.reference.loop import run_reference
from drnn_runtimes.registry import find_runtime
from drnn_runtimes.streaming.stream import Stream
from tests.networks import make_case, random_weights
from tests.runtimes.cuda_kernel.cases_on_the_stand_in import LENGTH, LSTM, TOKENS, _assert_nothing_is_left, _bundle_of
from tests.runtimes.cuda_kernel.stand_in.child import counts

LEFT = ("memory", "host memory", "objects")


def a_closed_session_runs_nothing_more() -> None:
    samples, output = make_case(LSTM, 1, LENGTH).inputs, np.zeros((1, 2, 3), np.float32)
    with _bundle_of(LSTM) as bundle:
        with find_runtime("cuda-kernel").load(bundle, bundle.graph("sequence")) as session:
            call = session.bind({"input": samples}, {"output": output})
            kept = session.stream(samples)
        before = counts()
        for use in (call, lambda: session.run({"input": samples}), kept.run, kept.lines):
            with pytest.raises(InputError, match="the session is closed"):
                use()
        assert counts() == before
    _assert_nothing_is_left()


def a_closed_stream_leaves_nothing_on_the_gpu() -> None:
    with (
        _bundle_of(TOKENS, forms=("step",), batch=1) as bundle,
        find_runtime("cuda-kernel").load(bundle, graph := bundle.graph("step")) as session,
    ):
        before = counts()
        for _ in range(3):
            stream = Stream(session, bundle, graph, 1)
            stream.push(make_case(TOKENS, 1, 9).inputs)
            assert counts()["memory"] > before["memory"]
            stream.close()
            stream.close()
            assert {name: counts()[name] for name in LEFT} == {name: before[name] for name in LEFT}
    _assert_nothing_is_left()


def a_bound_call_frees_what_it_had() -> None:
    samples, output = make_case(LSTM, 1, LENGTH).inputs, np.zeros((1, 2, 3), np.float32)
    with _bundle_of(LSTM) as bundle:
        with find_runtime("cuda-kernel").load(bundle, bundle.graph("sequence")) as session:
            before = counts()
            for _ in range(3):
                call = session.bind({"input": samples}, {"output": output})
                call()
                assert counts()["memory"] > before["memory"]
                del call
                assert {name: counts()[name] for name in LEFT} == {name: before[name] for name in LEFT}
            kept = session.bind({"input": samples}, {"output": output})
        del kept
    _assert_nothing_is_left()


def a_stream_that_cannot_begin_leaves_nothing_on_the_gpu() -> None:
    def refused(*_: object) -> None:
        raise EngineError("no memory")

    with (
        _bundle_of(TOKENS, forms=("step",), batch=1) as bundle,
        find_runtime("cuda-kernel").load(bundle, graph := bundle.graph("step")) as session,
    ):
        before = counts()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Device, "host_array", refused)
            with pytest.raises(EngineError, match="no memory"):
                Stream(session, bundle, graph, 1)
        assert {name: counts()[name] for name in LEFT} == {name: before[name] for name in LEFT}
    _assert_nothing_is_left()


def a_stream_whose_longer_run_fails_goes_on() -> None:
    spec = dataclasses.replace(TOKENS, head=Head("sequence", 2))
    samples = make_case(spec, 1, 30).inputs
    answers = run_reference(spec, random_weights(spec, 0), samples).outputs
    with _bundle_of(spec, forms=("step",), batch=1) as bundle, find_runtime("cuda-kernel").stream(bundle) as stream:
        outputs = [stream.push(samples[:, :9])]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Device, "memory", lambda *_: (_ for _ in ()).throw(EngineError("no memory")))
            with pytest.raises(EngineError, match="no memory"):
                stream.push(samples[:, 9:21])
        assert stream.steps == 9
        outputs += [stream.push(samples[:, 9:18]), stream.push(samples[:, 18:])]
        np.testing.assert_allclose(np.concatenate(outputs, axis=1), answers, atol=1e-5)
    _assert_nothing_is_left()


def a_thread_gets_back_the_context_that_it_had() -> None:
    driver = Driver()
    with contextlib.ExitStack() as outer:
        Device(outer)
        with contextlib.ExitStack() as inner:
            Device(inner)
        assert int(driver.call("cuCtxGetCurrent")) != 0, "the outer one is still in use"
    assert int(driver.call("cuCtxGetCurrent")) == 0
    _assert_nothing_is_left()


def the_first_error_is_the_one_that_is_raised() -> None:
    """Where the GPU has failed, giving things back fails, too."""

    def broken(self: Driver, name: str, *arguments: object) -> object:
        if name in ("cuStreamDestroy", "cuMemFree"):
            raise EngineError(f"the GPU failed: {name}")
        return right(self, name, *arguments)

    right = Driver.call
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Driver, "call", broken)
        with pytest.raises(EngineError, match="an illegal address"), contextlib.ExitStack() as stack:
            Device(stack).memory(stack, 8)
            raise EngineError("an illegal address")
        with pytest.raises(EngineError, match="cuStreamDestroy"), contextlib.ExitStack() as stack:
            Device(stack)
