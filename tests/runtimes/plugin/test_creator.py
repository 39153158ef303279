"""The plugin in NVIDIA's own classes: what its creator makes of fields, and that none ends the process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from drnn_core.errors import EngineError, InputError
from drnn_export.emitter.request import GraphRequest
from drnn_runtimes.bundle.functions import DOMAIN, OPERATOR
from drnn_runtimes.plugin.carried import CarriedKernel
from drnn_runtimes.plugin.creator import building_with, loading_with
from drnn_runtimes.plugin.launch import workspace_bytes
from drnn_runtimes.plugin.stack import VERSION
from tests.runtimes.plugin.engines import SPEC, kernel, pretend_images

rtx = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'drnn-deploy[rtx]'")


@pytest.fixture(autouse=True, scope="module")
def _pretended() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        pretend_images(patch)
        yield


def creators() -> list[Any]:
    return [c for c in rtx.get_plugin_registry().all_creators if (c.name, c.plugin_namespace) == (OPERATOR, DOMAIN)]


def created(values: dict[str, Any], phase: Any) -> Any:
    """What the creator makes of fields as NVIDIA's parser or runtime hands them over."""
    (creator,) = creators()
    numbers = {
        n: np.frombuffer(v.encode(), np.int8) if isinstance(v, str) else np.asarray(v) for n, v in values.items()
    }
    arrays = {n: v.astype(np.int32) if v.dtype.kind == "i" and v.itemsize > 1 else v for n, v in numbers.items()}
    arrays = {name: np.atleast_1d(value) for name, value in arrays.items()}  # which NVIDIA's fields do not keep alive
    kinds = {
        "int8": rtx.PluginFieldType.INT8,
        "int32": rtx.PluginFieldType.INT32,
        "float64": rtx.PluginFieldType.FLOAT64,
    }
    fields = [rtx.PluginField(name, value, kinds[value.dtype.name]) for name, value in arrays.items()]
    return creator.create_plugin("stack", rtx.PluginFieldCollection(fields), phase)


def test_it_is_registered_while_it_is_needed() -> None:
    assert not creators()
    with building_with(rtx, kernel()):
        (creator,) = creators()
        assert creator.plugin_version == VERSION
    assert not creators()
    with pytest.raises(KeyError), loading_with(rtx, lambda _: ""):
        assert creators()
        raise KeyError
    assert not creators()


@pytest.mark.parametrize("form", ["sequence", "step"])
def test_an_engine_gives_back_the_kernel_that_was_built_into_it(form: str) -> None:
    carried = kernel(SPEC, GraphRequest(1 if form == "step" else 16, 1, "plugin", form=form))  # type: ignore[arg-type]
    with building_with(rtx, carried) as building:
        plugin = created(carried.stack.attributes(), rtx.TensorRTPhase.BUILD)
        building.raise_error()
        fields = {field.name: np.array(field.data) for field in plugin.get_fields_to_serialize()}
    assert CarriedKernel.from_fields(fields) == carried
    with loading_with(rtx, lambda _: "") as loading:
        again = created(fields, rtx.TensorRTPhase.RUNTIME)
        loading.raise_error()
    assert again.kernel == carried
    assert again.num_outputs == (1 if form == "sequence" else 5)


def test_what_it_needs_of_the_gpu_is_the_most_of_all_architectures() -> None:
    carried = kernel(SPEC, GraphRequest(1, 1, "plugin", form="step"))
    with building_with(rtx, carried):
        plugin = created(carried.stack.attributes(), rtx.TensorRTPhase.BUILD)
    described = rtx.DynamicPluginTensorDesc()
    described.max = rtx.Dims([7, 1, 3])
    most = plugin.get_workspace_size([described], [])
    assert most == max(workspace_bytes(carried.stack, carried.stack.plan(name), 7) for name in carried.images)
    assert most >= 4 * 7 * 2 * (4 * 1 + 5 * 2)  # h and c of both layers


@pytest.mark.parametrize(
    "changes", [{"hidden": [4, 6]}, {"cell": "gru"}, {"answers": 2}, {"dilations": []}, {"precision": "int8"}]
)
def test_the_node_of_another_stack_is_refused(changes: dict[str, Any]) -> None:
    carried = kernel()
    with building_with(rtx, carried) as building:
        assert created({**carried.stack.attributes(), **changes}, rtx.TensorRTPhase.BUILD) is None
        with pytest.raises((EngineError, InputError)):
            building.raise_error()


def test_a_hundred_random_corruptions_of_fields_are_refused_without_a_crash() -> None:
    carried, rng = kernel(), np.random.default_rng(0)
    for _ in range(100):
        fields = {name: value.copy() for name, value in carried.fields().items()}
        name = str(rng.choice(sorted(fields)))
        if rng.random() < 0.2:
            fields[name] = fields[name][: rng.integers(1, max(2, fields[name].size))]
        else:
            changed = fields[name].view(np.uint8)
            changed[rng.integers(changed.size)] ^= rng.integers(1, 256)
        with loading_with(rtx, lambda read: "" if read == carried else "another kernel") as loading:
            plugin = created(fields, rtx.TensorRTPhase.RUNTIME)
        if all(np.array_equal(value, carried.fields()[name]) for name, value in fields.items()):
            continue  # a cut of nothing
        assert plugin is None
        with pytest.raises(EngineError) as refused:
            loading.raise_error()
        assert refused.value.exit_code == 4
        assert "\n" not in refused.value.message


def test_a_context_without_a_gpu_is_refused() -> None:
    from drnn_core import gpu

    if gpu.gpu() is not None:
        pytest.skip("this machine has a GPU")
    with loading_with(rtx, lambda _: "") as loading:
        plugin = created(dict(kernel().fields()), rtx.TensorRTPhase.RUNTIME)
        assert plugin.attach_to_context(None) is None
        with pytest.raises(EngineError, match="runs on a GPU only"):
            loading.raise_error()
