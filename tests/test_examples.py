"""The examples run, as they are, on sound, samples and networks that are made up here."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from drnn_deploy import ExportOptions, export
from drnn_deploy.exporter.triton import write_repository
from drnn_models.checkpoint import Checkpoint, save_checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.reference.loop import run_reference
from drnn_runtimes.registry import find_runtime
from tests.networks import random_inputs, random_weights

EXAMPLES = Path(__file__).parents[1] / "examples"
SPEC = ModelSpec("gru", (4, 5), (1, 3), Continuous(1), Head("sequence", 2))
CHECKPOINT = Checkpoint(SPEC, random_weights(SPEC, 0), {"length": 24})
QUICK: Any = {"engines": (), "runtimes": ("onnxruntime-cpu",)}
SAMPLES = random_inputs(SPEC, 1, 24, 1)


def expected(samples: NDArray[np.generic]) -> NDArray[np.float64]:
    return run_reference(SPEC, CHECKPOINT.weights, samples).outputs[0]


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A file of the examples, as Python runs it: with its own folder on the path."""
    path = EXAMPLES / name
    monkeypatch.syspath_prepend(str(path.parent))
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.nightly
def test_keyword_hears_the_words_that_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, listen = load("keyword/train.py", monkeypatch), load("keyword/listen.py", monkeypatch)
    assert train.WORDS == listen.WORDS
    monkeypatch.chdir(tmp_path)
    train.main()
    export("model.pt", "bundle", ExportOptions(forms=("chunk",), chunk=4, **QUICK))
    words = [1, 0, 2, 2, 0, 1, 2, 1]
    samples, labels = train.sound(len(words), words, np.random.default_rng(1))
    pcm = io.BytesIO((samples * 32767).clip(-32768, 32767).astype("<i2").tobytes())
    with find_runtime("onnxruntime-cpu").stream(Bundle.open(Path("bundle"))) as stream:
        heard = list(listen.listen(stream, pcm))
    said = np.flatnonzero(np.diff(labels, prepend=0) * labels > 0) * train.FRAME / train.RATE
    assert [word for _, word in heard] == [train.WORDS[word] for word in words if word]
    assert np.abs(np.array([second for second, _ in heard]) - said).max() < 0.15


@pytest.mark.nightly
def test_microphone_is_a_pipe_into_c(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "model.pt", CHECKPOINT)
    command = tmp_path / "bin" / "drnn-export"
    command.parent.mkdir()
    script = f'#!/bin/sh\nexec "{sys.executable}" -m drnn_deploy export --runtime onnxruntime-cpu "$@"\n'
    command.write_text(script, encoding="utf-8")
    command.chmod(0o755)
    variables = {
        **os.environ,
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(sys.path),
        "CFLAGS": "-O0",
    }
    subprocess.run([EXAMPLES / "microphone" / "build.sh", "model.pt"], cwd=tmp_path, env=variables, check=True)
    sound = subprocess.run([tmp_path / "listen"], input=SAMPLES.tobytes(), capture_output=True, check=True).stdout
    np.testing.assert_allclose(np.loadtxt(io.BytesIO(sound)), expected(SAMPLES), atol=1e-5)


def test_service_keeps_a_stream_for_each_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi", reason="needs fastapi and httpx2, of the extra dev")
    pytest.importorskip("httpx2")
    from fastapi.testclient import TestClient
    from starlette.websockets import WebSocketDisconnect

    export(CHECKPOINT, tmp_path / "bundle", ExportOptions(forms=("chunk",), chunk=4, **QUICK))
    service = load("service/service.py", monkeypatch)
    monkeypatch.setenv("BUNDLE", str(tmp_path / "bundle"))
    other = random_inputs(SPEC, 1, 24, 2)
    with TestClient(service.app()) as client:
        with client.websocket_connect("/stream") as one, client.websocket_connect("/stream") as two:
            assert client.get("/").json() == {"features": 1, "chunk": 4, "outputs": 2, "clients": 2}
            answers: dict[Any, list[Any]] = {one: [], two: []}
            for start in range(0, 24, 6):
                for socket, samples in ((one, SAMPLES), (two, other)):
                    socket.send_bytes(samples[0, start : start + 6].tobytes())
                    answers[socket] += socket.receive_json()
            np.testing.assert_allclose(answers[one], expected(SAMPLES), atol=1e-5)
            np.testing.assert_allclose(answers[two], expected(other), atol=1e-5)
        longest = bytes(service.MOST_CHUNKS * 4 * 4)
        with client.websocket_connect("/stream") as socket:
            socket.send_bytes(longest)
            assert len(socket.receive_json()) == service.MOST_CHUNKS * 4
        for wrong in (b"123", np.float32([1, np.nan]).tobytes(), longest + bytes(4), "1.0"):
            with client.websocket_connect("/stream") as socket:
                socket.send_text(wrong) if isinstance(wrong, str) else socket.send_bytes(wrong)
                with pytest.raises(WebSocketDisconnect) as ended:
                    socket.receive_json()
                assert ended.value.code == 1007
        assert client.get("/").json()["clients"] == 0


@pytest.fixture
def triton(tmp_path: Path) -> Iterator[str]:
    """The address of a stand-in for Triton: it speaks the protocol, and keeps each sequence's state."""
    pytest.importorskip("tritonclient.grpc")
    import grpc
    import onnxruntime
    from tritonclient.grpc import service_pb2, service_pb2_grpc
    from tritonclient.utils import triton_to_np_dtype

    options = ExportOptions(forms=("chunk",), chunk=4, batch=None, ring=False, **QUICK)
    bundle = export(CHECKPOINT, tmp_path / "bundle", options).bundle
    (place,) = write_repository(bundle, tmp_path / "models", "waves").models
    session = onnxruntime.InferenceSession(place / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    states = dict(next(graph for graph in bundle.graphs if graph.states).states)
    zeros = {i.name: np.zeros([1, *i.shape[1:]], np.float32) for i in session.get_inputs() if i.name in states}
    kept: dict[int, dict[str, Any]] = {}

    class Server(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
        def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
            answer = service_pb2.ModelMetadataResponse(name=request.name)
            answer.inputs.add(name="input", datatype="FP32", shape=[-1, 4, 1])
            return answer

        def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
            sequence = request.parameters["sequence_id"].int64_param
            if request.parameters["sequence_start"].bool_param:
                kept[sequence] = zeros
            (given,) = request.inputs
            piece = np.frombuffer(request.raw_input_contents[0], triton_to_np_dtype(given.datatype))
            names = [output.name for output in session.get_outputs()]
            ran = dict(
                zip(names, session.run(names, {"input": piece.reshape(given.shape), **kept[sequence]}), strict=True)
            )
            kept[sequence] = {before: ran[after] for before, after in states.items()}
            if request.parameters["sequence_end"].bool_param:
                del kept[sequence]
            answer = service_pb2.ModelInferResponse(model_name=request.model_name)
            answer.outputs.add(name="output", datatype="FP32", shape=ran["output"].shape)
            answer.raw_output_contents.append(ran["output"].tobytes())
            return answer

    server = grpc.server(futures.ThreadPoolExecutor(1))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Server(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()
    assert kept == {}  # every sequence was ended


def test_triton_client_sends_chunks_of_a_sequence(
    triton: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = load("triton/client.py", monkeypatch)
    np.save(tmp_path / "samples.npy", SAMPLES[0])
    monkeypatch.setattr(sys, "argv", ["client.py", triton, "waves", str(tmp_path / "samples.npy")])
    client.main()
    np.testing.assert_allclose(np.loadtxt(io.StringIO(capsys.readouterr().out)), expected(SAMPLES), atol=1e-5)


@pytest.mark.parametrize("name", ["Dockerfile.jetson", "Dockerfile.x86"])
def test_containers_pass_hadolint(name: str) -> None:
    beside = Path(sys.executable).parent / "hadolint"
    found = shutil.which("hadolint") or (str(beside) if beside.is_file() else None)
    if found is None:
        pytest.skip("needs hadolint, of the extra dev")
    ran = subprocess.run([found, EXAMPLES / "containers" / name], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout


def test_every_example_is_listed() -> None:
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "__pycache__"}
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| \[(\w+)\]", listed, re.MULTILINE)) == folders
    for link in re.findall(r"\]\(([^)]+)\)", listed):
        assert (EXAMPLES / link).is_file(), link
