"""The fields that an engine holds: read back as they were, and refused in a sentence where they are anything else."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from drnn_core.errors import EngineError
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_runtimes.bundle import GraphInfo
from drnn_runtimes.plugin.carried import CarriedKernel, kernel_version
from drnn_runtimes.plugin.trust import carried_problem, describe, kernel_problem
from drnn_runtimes.trt.sidecar import InsideKernel
from tests.networks import random_weights
from tests.runtimes.bundle.graphs import info_of
from tests.runtimes.plugin.engines import REQUEST, SPEC, kernel, pretend_images


@pytest.fixture(autouse=True, scope="module")
def _pretended() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        pretend_images(patch)
        yield


def text(value: str) -> NDArray[np.int8]:
    return np.frombuffer(value.encode(), np.int8)


@pytest.mark.parametrize("form", ["sequence", "chunk", "step"])
def test_what_is_written_is_read(form: str) -> None:
    request = GraphRequest(1 if form == "step" else 16, None, "plugin", form=form)  # type: ignore[arg-type]
    carried = kernel(SPEC, request)
    fields = carried.fields()
    assert list(fields)[:3] == ["format", "kernel", "stack"]
    assert {f"image_{name}" for name in ("80", "86", "89", "120")} <= fields.keys()
    assert CarriedKernel.from_fields(fields) == carried
    assert {name: value.tobytes() for name, value in carried.fields().items()} == {
        name: value.tobytes() for name, value in fields.items()
    }
    plan = carried.stack.plan("86")
    assert fields["launch_86"].tolist() == [plan.threads, plan.shared_bytes, plan.options.rows, plan.workspace]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": text("drnn-plugin/2")}, "its format is 'drnn-plugin/2'"),
        ({"format": np.array([1], np.int32)}, "'format' is int32"),
        ({"kernel": np.frombuffer(b"\xff\xfe", np.int8)}, "'kernel' is no text"),
        ({"stack": text("{")}, "'stack' is no JSON"),
        ({"stack": text("[]")}, "'stack' is no JSON object"),
        ({"stack": text("[" * 20_000)}, "'stack' is no JSON"),
        ({"stack": text("{}")}, "no attribute"),
        ({"image_86": None}, "'launch_86' is unknown"),
        ({"launch_86": None}, "'launch_86' is missing"),
        ({"launch_86": np.array([32, 0, 1, 0], np.int32)}, "'launch_86' is not what the kernel needs"),
        ({"image_86": np.zeros(0, np.int8)}, "'image_86' is int8 of 0 bytes"),
        ({"image_x": np.zeros(4, np.int8), "launch_x": np.zeros(4, np.int32)}, "'launch_x' is not what"),
        ({"more": text("x")}, "'more' is unknown"),
    ],
)
def test_other_fields_are_refused(changes: dict[str, NDArray[Any] | None], words: str) -> None:
    fields = {name: value for name, value in {**kernel().fields(), **changes}.items() if value is not None}
    with pytest.raises(EngineError, match="the kernel inside the engine is damaged: ") as refused:
        CarriedKernel.from_fields(fields)
    assert words in refused.value.message
    assert refused.value.exit_code == 4


@pytest.mark.parametrize("name", ["plugin_version", "plugin_namespace", "hidden", "more"])
def test_a_stack_of_another_version_is_refused(name: str) -> None:
    attributes = kernel().stack.attributes()
    other = {**attributes, name: [4, 6] if name == "hidden" else "2"}
    fields = {**kernel().fields(), "stack": text(json.dumps(other))}
    with pytest.raises(EngineError):
        CarriedKernel.from_fields(fields)


@given(st.data())
def test_no_corruption_of_the_fields_passes(data: st.DataObject) -> None:
    """Whatever is read of damaged fields is refused, by itself or beside the sidecar."""
    carried, info = _carried(), _info()
    fields = {name: value.copy() for name, value in carried.fields().items()}
    name = data.draw(st.sampled_from(sorted(fields)))
    how = data.draw(st.sampled_from(["byte", "cut", "type", "name", "gone"]))
    if how == "byte":
        place = data.draw(st.integers(0, fields[name].nbytes - 1))
        fields[name].view(np.uint8)[place] ^= data.draw(st.integers(1, 255))
    elif how == "cut":
        fields[name] = fields[name][: data.draw(st.integers(0, fields[name].size - 1))]
    elif how == "type":
        fields[name] = fields[name].astype(np.float32)
    elif how == "name":
        fields[data.draw(st.text(max_size=8).filter(lambda text: text != name))] = fields.pop(name)
    else:
        del fields[name]
    try:
        problem = carried_problem(CarriedKernel.from_fields(fields), _described(), SPEC, info)
    except EngineError as error:
        problem = error.message
    assert problem
    assert "\n" not in problem
    assert len(problem) < 400


def test_another_kernel_or_network_than_the_sidecars_is_refused() -> None:
    carried, info = kernel(), _info()
    assert carried_problem(carried, describe(carried), SPEC, info) == ""
    other = dataclasses.replace(carried, images={**carried.images, "86": b"other"})
    assert "another kernel than its sidecar says" in carried_problem(other, describe(carried), SPEC, info)
    fewer = dataclasses.replace(carried, images={"86": carried.images["86"]})
    assert "another kernel" in carried_problem(fewer, describe(carried), SPEC, info)
    older = dataclasses.replace(carried, version="0" * 12)
    assert "another kernel" in carried_problem(older, describe(carried), SPEC, info)
    wide = dataclasses.replace(SPEC, hidden=(4, 6))
    assert "another network" in carried_problem(carried, describe(carried), wide, info)
    assert len(kernel_version()) == 12


@functools.cache
def _carried() -> CarriedKernel:
    return kernel()


@functools.cache
def _described() -> InsideKernel:
    return describe(_carried())


@functools.cache
def _info() -> GraphInfo:
    return info_of(SPEC, REQUEST, emit(SPEC, random_weights(SPEC, 0), REQUEST))


@given(st.data())
def test_no_list_of_images_lets_an_unknown_one_through(data: st.DataObject) -> None:
    """Also where it names the known image beside the one that the engine holds."""
    known, info = _carried(), _info()
    other = dataclasses.replace(known, images={**known.images, "86": b"other"})
    named = [*describe(known).images, *describe(other).images]
    images = data.draw(st.lists(st.sampled_from(named), unique=True).map(tuple)) or tuple(dict.fromkeys(named))
    inside = dataclasses.replace(describe(other), images=images)
    assert kernel_problem(inside, SPEC, info, "8.6") or carried_problem(other, inside, SPEC, info)
