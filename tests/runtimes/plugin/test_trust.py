"""An engine with a kernel inside is loaded only if it is the one of its sidecar, and its kernel is known here."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from drnn_core import gpu
from drnn_core.errors import EngineError, RuntimeUnavailableError
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.cuda_kernel.trust import TRUST
from drnn_runtimes.plugin import trust
from drnn_runtimes.plugin.trust import kernel_problem
from drnn_runtimes.trt.runtime import TensorRTRuntime
from drnn_runtimes.trt.session import TensorRTSession
from drnn_runtimes.trt.sidecar import Sidecar, sidecar_path
from tests.runtimes.plugin.engines import HERE, SPEC, bundle_with_kernel, pretend_images, put, with_image

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'drnn-deploy[rtx]'")

Change = dict[str, Any]


class LoadedError(Exception):
    """NVIDIA's runtime would have seen the engine."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bundle, Sidecar]]:
    with pytest.MonkeyPatch.context() as patch:
        pretend_images(patch)
        yield bundle_with_kernel(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(autouse=True)
def _on_a_gpu(monkeypatch: pytest.MonkeyPatch, built: tuple[Bundle, Sidecar]) -> Iterator[None]:
    def opened(*_: object) -> None:
        raise LoadedError

    monkeypatch.setattr(gpu, "gpu", lambda: HERE)
    monkeypatch.setattr(TensorRTSession, "open", opened)
    monkeypatch.delenv(TRUST, raising=False)
    bundle, sidecar = built
    engine = bundle.folder / "model.engine"
    data = engine.read_bytes()
    yield
    engine.write_bytes(data)
    put(bundle, sidecar)


def load(bundle: Bundle) -> None:
    with TensorRTRuntime("tensorrt-rtx").load(bundle, bundle.graphs[0]):
        pass


def refusal(bundle: Bundle) -> str:
    with pytest.raises(EngineError) as refused:
        load(bundle)
    assert refused.value.exit_code == 4
    assert refused.value.fix
    assert "\n" not in refused.value.message
    return refused.value.message


def test_an_engine_of_this_installation_is_loaded(built: tuple[Bundle, Sidecar]) -> None:
    with pytest.raises(LoadedError):
        load(built[0])


def changed(sidecar: Sidecar, **changes: object) -> Sidecar:
    assert sidecar.kernel is not None
    return dataclasses.replace(sidecar, kernel=dataclasses.replace(sidecar.kernel, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words", "trusted"),
    [
        ({"plugin": "other::DilatedStack"}, "for the plugin other::DilatedStack version 1", False),
        ({"plugin_version": "2"}, "for the plugin drnn::DilatedStack version 2", False),
        ({"kernel": "0" * 12}, "is of version 000000000000", True),
    ],
)
def test_another_plugin_or_version_is_refused(
    changes: Change, words: str, trusted: bool, built: tuple[Bundle, Sidecar], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, sidecar = built
    put(bundle, changed(sidecar, **changes))
    assert words in refusal(bundle)
    monkeypatch.setenv(TRUST, "1")
    with pytest.raises(LoadedError if trusted else EngineError):
        load(bundle)


def test_an_image_that_is_not_known_needs_trust(built: tuple[Bundle, Sidecar], monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, sidecar = built
    put(bundle, with_image(sidecar, 1, sha256="0" * 64))
    message = refusal(bundle)
    assert "compute capability 8.6 is none that this installation makes" in message
    assert "--trust-images" in message
    put(bundle, with_image(sidecar, 0, sha256="0" * 64))  # which another GPU would run
    with pytest.raises(LoadedError):
        load(bundle)
    put(bundle, with_image(sidecar, 1, sha256="0" * 64))
    monkeypatch.setenv(TRUST, "1")
    with pytest.raises(LoadedError):
        load(bundle)


def test_without_its_compiler_an_installation_knows_no_image(
    built: tuple[Bundle, Sidecar], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> bytes:
        raise RuntimeUnavailableError("cuda-kernel: NVRTC is not installed", "pip install it")

    monkeypatch.setattr(trust, "compiled_image", missing)
    message = refusal(built[0])
    assert "NVRTC is not installed" in message
    assert "--trust-images" in message
    monkeypatch.setenv(TRUST, "1")
    with pytest.raises(LoadedError):
        load(built[0])


def test_a_gpu_without_an_image_is_refused(built: tuple[Bundle, Sidecar]) -> None:
    bundle, sidecar = built
    assert sidecar.kernel is not None
    graph = bundle.graphs[0]
    assert "is for compute capability 8.0, 8.6, 8.9, 12.0" in kernel_problem(sidecar.kernel, SPEC, graph, "9.0")
    other = dataclasses.replace(graph, emission="fused")
    assert "has no node that it could be of" in kernel_problem(sidecar.kernel, SPEC, other, "8.6")


def test_a_sidecar_that_hides_the_kernel_lets_no_plugin_be_found(built: tuple[Bundle, Sidecar]) -> None:
    """NVIDIA's runtime then finds no creator: it is registered for engines whose sidecar names a kernel alone."""
    import tensorrt_rtx

    bundle, sidecar = built
    put(bundle, dataclasses.replace(sidecar, kernel=None))
    with pytest.raises(LoadedError):
        load(bundle)
    assert all(creator.plugin_namespace != "drnn" for creator in tensorrt_rtx.get_plugin_registry().all_creators)


def test_the_engine_is_the_one_of_its_sidecar(built: tuple[Bundle, Sidecar]) -> None:
    bundle, _ = built
    engine = bundle.folder / "model.engine"
    data = bytearray(engine.read_bytes())
    data[len(data) // 2] ^= 1
    engine.write_bytes(data)
    assert "not the file that its sidecar describes" in refusal(bundle)


def test_a_hundred_random_corruptions_are_refused_or_change_nothing_that_counts(
    built: tuple[Bundle, Sidecar],
) -> None:
    """Of the sidecar's text and of the engine: what is still loaded is the same kernel for the same GPU."""
    bundle, sidecar = built
    engine, described = bundle.folder / "model.engine", sidecar_path(bundle.folder / "model.engine")
    whole, text, rng, loaded = engine.read_bytes(), described.read_bytes(), np.random.default_rng(1), 0
    for number in range(100):
        data = bytearray(whole if number % 4 == 0 else text)
        for _ in range(int(rng.integers(1, 4))):
            data[rng.integers(len(data))] = rng.integers(256)
        if number % 7 == 0:
            del data[rng.integers(len(data)) :]
        (engine if number % 4 == 0 else described).write_bytes(data)
        try:
            load(bundle)
        except LoadedError:
            loaded += 1
            seen = Sidecar.read(described)
            assert seen.kernel is not None and sidecar.kernel is not None
            assert (seen.engine_sha256, seen.onnx_sha256) == (sidecar.engine_sha256, sidecar.onnx_sha256)
            assert (seen.kernel.plugin, seen.kernel.kernel) == (sidecar.kernel.plugin, sidecar.kernel.kernel)
            assert seen.kernel.images[1].sha256 == sidecar.kernel.images[1].sha256
        except EngineError as error:
            assert error.exit_code == 4
            assert "\n" not in error.message
        engine.write_bytes(whole)
        described.write_bytes(text)
    assert loaded < 50


@pytest.mark.parametrize("value", [{}, {"images": []}, [], "x", 1, {"plugin": "x"}])
def test_a_kernel_in_a_sidecar_is_whole(value: object, built: tuple[Bundle, Sidecar]) -> None:
    bundle, _ = built
    described = sidecar_path(bundle.folder / "model.engine")
    data = json.loads(described.read_text(encoding="utf-8"))
    described.write_text(json.dumps({**data, "kernel": value}), encoding="utf-8")
    assert "kernel" in refusal(bundle)
