from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from drnn_core.errors import InputError, RuntimeUnavailableError
from drnn_core.gpu import gpu
from drnn_core.types import Availability
from drnn_deploy.exporter.options import ExportOptions
from drnn_deploy.exporter.pipeline import export
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.registry import RUNTIMES, find_runtime, require
from tests.compilers import NATIVE
from tests.networks import Case, make_case
from tests.optional_runtimes import HIDDEN, OPTIONAL

SPEC = ModelSpec("lstm", (4, 4), (1, 2), Continuous(2), Head("last_k", 3, 2))
pytestmark = pytest.mark.optional_runtimes("native")
EVERYWHERE = ("reference", "torch", "onnxruntime-cpu")
WITH_A_COMPILER = ("native",)
HERE = (*EVERYWHERE, NATIVE)
WITH_A_GPU = ("torch-cuda", "onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt", "tensorrt-rtx", "cuda-kernel")


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case(SPEC, 3, 11)


@pytest.fixture(scope="module")
def bundle(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    options = ExportOptions(length=11, batch=3, emissions=("fused", "unrolled"), engines=(), runtimes=EVERYWHERE)
    return export(case.checkpoint(), tmp_path_factory.mktemp("export") / "bundle", options).bundle


@pytest.fixture(scope="module")
def steps(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    options = ExportOptions(forms=("step",), engines=(), runtimes=("onnxruntime-cpu",))
    return export(case.checkpoint(), tmp_path_factory.mktemp("steps") / "bundle", options).bundle


def test_registry_holds_every_runtime_under_its_own_name() -> None:
    assert set(RUNTIMES) == {*EVERYWHERE, *WITH_A_COMPILER, "tensorrt-network", *WITH_A_GPU, *OPTIONAL}
    assert all(runtime.name == name for name, runtime in RUNTIMES.items())


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_are_set_on_a_copy(threads: int, bundle: Bundle) -> None:
    runtime = find_runtime("onnxruntime-cpu")
    with runtime.with_threads(threads).load(bundle, bundle.graphs[0]) as session:
        assert session._session.get_session_options().intra_op_num_threads == threads  # type: ignore[attr-defined]
    with runtime.load(bundle, bundle.graphs[0]) as session:
        assert session._session.get_session_options().intra_op_num_threads != threads


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_runtime_stays_what_it_is_with_other_threads(name: str) -> None:
    runtime = find_runtime(name)
    other = runtime.with_threads(3)
    assert (other.name, type(other), other is runtime) == (name, type(runtime), False)


def test_optional_runtimes_are_missing_where_a_file_does_not_ask_for_them() -> None:
    missing = {name for name in OPTIONAL if find_runtime(name).availability() == HIDDEN}
    assert missing == OPTIONAL - set(pytestmark.args)


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("verb", ["load", "stream"])
def test_no_runtime_opens_what_it_does_not_support(
    name: str, verb: str, steps: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for it, and whether they asked before or not."""
    runtime = find_runtime(name)
    monkeypatch.setattr(runtime, "availability", lambda: Availability(True, "made up"))
    monkeypatch.setattr(runtime, "unsupported", lambda bundle, graph: "it is Monday")
    monkeypatch.setattr(runtime, "_open", lambda *_: pytest.fail("it was opened"))
    opened = runtime.load(steps, steps.graphs[0]) if verb == "load" else runtime.stream(steps)
    with pytest.raises(RuntimeUnavailableError, match=f"{name} cannot run step/fused .*: it is Monday"), opened:
        pass
    monkeypatch.setattr(runtime, "availability", lambda: Availability(False, "it is broken", "mend it"))
    opened = runtime.load(steps, steps.graphs[0]) if verb == "load" else runtime.stream(steps)
    with pytest.raises(RuntimeUnavailableError, match=f"{name}: it is broken"), opened:
        pass


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("form", ["sequence/fused", "sequence/unrolled"])
def test_runtimes_compute_the_equation(name: str, form: str, bundle: Bundle, case: Case) -> None:
    runtime = find_runtime(name)
    assert runtime.availability().usable
    with runtime.load(bundle, bundle.graph(form)) as session:
        outputs = session.run({"input": case.inputs})
    assert list(outputs) == ["output"]
    case.assert_within_noise(outputs["output"])


@pytest.mark.parametrize("name", HERE)
@given(seed=st.integers(0, 2**31))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=5)
def test_a_session_keeps_nothing_from_run_to_run(name: str, bundle: Bundle, case: Case, seed: int) -> None:
    other = np.random.default_rng(seed).standard_normal(case.inputs.shape, dtype=np.float32)
    with find_runtime(name).load(bundle, bundle.graph("sequence")) as session:
        before = session.run({"input": case.inputs})["output"]
        session.run({"input": other})
        np.testing.assert_array_equal(session.run({"input": case.inputs})["output"], before)


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "takes the inputs"),
        ({"input": np.zeros((3, 11, 2), np.float32), "more": np.zeros(1)}, "takes the inputs"),
        ({"input": np.zeros((3, 11, 2))}, "must be float32 of shape"),
        ({"input": np.zeros((3, 12, 2), np.float32)}, "must be float32 of shape"),
        ({"input": np.zeros((2, 11, 2), np.float32)}, "must be float32 of shape"),
        ({"input": np.zeros((3, 11), np.float32)}, "must be float32 of shape"),
    ],
)
def test_wrong_inputs_are_refused(
    name: str, bundle: Bundle, inputs: Mapping[str, NDArray[np.generic]], message: str
) -> None:
    with find_runtime(name).load(bundle, bundle.graph("sequence")) as session, pytest.raises(InputError, match=message):
        session.run(inputs)


@pytest.mark.skipif(gpu() is not None, reason="this machine has a GPU")
@pytest.mark.parametrize("name", WITH_A_GPU)
def test_without_a_gpu_the_gpu_runtimes_say_so_and_refuse(name: str, bundle: Bundle) -> None:
    runtime = find_runtime(name)
    available = runtime.availability()
    assert not available.usable
    assert available.detail
    assert available.fix
    with pytest.raises(RuntimeUnavailableError, match=name):
        require([name])
    with pytest.raises(RuntimeUnavailableError), runtime.load(bundle, bundle.graph("sequence")):
        pass


def test_unknown_runtime_is_a_users_mistake(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="no runtime 'onnx'") as refusal:
        find_runtime("onnx")
    assert "onnxruntime-cpu" in refusal.value.fix


def test_a_bundle_needs_no_torch(bundle: Bundle, case: Case, tmp_path: Path) -> None:
    """In a process that cannot import torch, ONNX Runtime and the reference run the bundle."""
    import subprocess
    import sys

    np.save(tmp_path / "inputs.npy", case.inputs)
    script = """
import sys
sys.modules["torch"] = None
import numpy as np
from pathlib import Path
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.registry import RUNTIMES, find_runtime
bundle = Bundle.open(Path(sys.argv[1]))
outputs = []
for name in ("reference", "onnxruntime-cpu"):
    with find_runtime(name).load(bundle, bundle.graph("sequence")) as session:
        outputs.append(session.run({"input": np.load(sys.argv[2])})["output"])
print(float(np.abs(outputs[0] - outputs[1]).max()), RUNTIMES["torch"].availability().usable)
"""
    arguments = [sys.executable, "-c", script, str(bundle.folder), str(tmp_path / "inputs.npy")]
    error, torch_usable = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.split()
    assert float(error) < 1e-5
    assert torch_usable == "False"
