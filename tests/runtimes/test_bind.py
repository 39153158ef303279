"""What is bound is checked before anything is written: names, shapes, types, and whether it may be written to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from drnn_core.errors import InputError
from drnn_deploy import ExportOptions, export
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.registry import find_runtime
from drnn_runtimes.session import Arrays, Session
from tests.networks import make_case

pytestmark = pytest.mark.optional_runtimes("native", "openvino")
RUNTIMES = ("native", "onnxruntime-cpu", "openvino", "torch", "reference")
NUMBERS = ModelSpec("gru", (5, 4), (1, 2), Continuous(2), Head("sequence", 3))
ONE_HOT = ModelSpec("gru", (5, 4), (1, 2), Tokens(6), Head("sequence", 3))
LENGTH, BATCH = 8, 4
Change = Callable[[Arrays, Arrays], tuple[Arrays, Arrays]]


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def output(value: object) -> Change:
    return lambda inputs, _: (inputs, {"output": value})  # type: ignore[dict-item]


WRONG: dict[str, Change] = {
    "fewer outputs": output(np.zeros((1, 1, 1), np.float32)),
    "another batch": output(np.zeros((BATCH - 1, LENGTH, 3), np.float32)),
    "one row for all": output(np.zeros((1, LENGTH, 3), np.float32)),
    "float64": output(np.zeros((BATCH, LENGTH, 3))),
    "whole numbers": output(np.zeros((BATCH, LENGTH, 3), np.int64)),
    "read only": output(read_only(np.zeros((BATCH, LENGTH, 3), np.float32))),
    "no array": output([[1.0]]),
    "another name": lambda inputs, outputs: (inputs, {"answer": outputs["output"]}),
    "inputs of another length": lambda inputs, outputs: ({"input": inputs["input"][:, :-1].copy()}, outputs),
}


@pytest.fixture(scope="module", params=[NUMBERS, ONE_HOT], ids=["numbers", "tokens"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bind") / "bundle"
    options = ExportOptions(length=LENGTH, batch=None, profile=(1, 2, BATCH), engines=(), runtimes=())
    return export(make_case(request.param, 1, LENGTH).checkpoint(), folder, options).bundle


@pytest.fixture(params=RUNTIMES)
def session(request: pytest.FixtureRequest, bundle: Bundle) -> Iterator[Session]:
    runtime = find_runtime(request.param)
    if not runtime.availability().usable:
        pytest.skip(runtime.availability().detail)
    with runtime.load(bundle, bundle.graph("sequence")) as session:
        yield session


def arrays(bundle: Bundle) -> tuple[Arrays, Arrays]:
    return {"input": make_case(bundle.spec, BATCH, LENGTH).inputs}, {"output": np.zeros((BATCH, LENGTH, 3), np.float32)}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_is_refused(wrong: str, session: Session, bundle: Bundle) -> None:
    with pytest.raises(InputError):
        session.bind(*WRONG[wrong](*arrays(bundle)))


def test_an_input_with_gaps_is_read_as_it_is_or_refused(session: Session, bundle: Bundle) -> None:
    inputs, outputs = arrays(bundle)
    wanted = session.run(inputs)["output"]
    spaced = np.repeat(inputs["input"], 2, axis=1)[:, ::2]
    try:
        call = session.bind({"input": spaced}, outputs)
    except InputError as error:
        assert "contiguous" in error.message
    else:
        call()
        np.testing.assert_allclose(outputs["output"], wanted, atol=1e-6)
    backwards = np.ascontiguousarray(inputs["input"][:, ::-1])[:, ::-1]
    np.testing.assert_allclose(session.run({"input": backwards})["output"], wanted, atol=1e-6)


def test_tokens_are_looked_at_in_each_call(session: Session, bundle: Bundle) -> None:
    if not isinstance(bundle.spec.input, Tokens):
        pytest.skip("of numbers there is no vocabulary")
    inputs, outputs = arrays(bundle)
    call = session.bind(inputs, outputs)
    call()
    inputs["input"][...] = 10**6
    with pytest.raises(InputError, match="tokens must be 0 to 5"):
        call()


def test_as_many_sequences_are_in_every_array(tmp_path: Path) -> None:
    options = ExportOptions(forms=("chunk",), chunk=2, batch=None, profile=(1, 2, 4), engines=(), runtimes=())
    bundle = export(make_case(NUMBERS, 1, LENGTH).checkpoint(), tmp_path / "bundle", options).bundle
    graph = bundle.graph("chunk")
    inputs = {t.name: np.zeros((2, *t.shape[1:]), t.dtype) for t in graph.inputs}
    inputs["input"] = np.zeros((3, 2, 2), np.float32)
    for name in RUNTIMES[1:2] + RUNTIMES[3:]:
        with find_runtime(name).load(bundle, graph) as session, pytest.raises(InputError, match="of 2 and 3 sequences"):
            session.run(inputs)
