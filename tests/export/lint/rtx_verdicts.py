"""What NVIDIA's own TensorRT-RTX parser, and its compiler if asked, say of ONNX files; in child processes.

Run as a script it reads {"files": [...], "build": bool, "fed": {...}} and writes a line of JSON before and after
each file, so that a crash tells which file it was. A crash or a build without end counts as refused.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

SECONDS = 60.0  # without a word


@dataclasses.dataclass(frozen=True)
class Verdict:
    """`inputs`: types; `outputs`: shapes; `layers`: type of each layer's first output; all of the parsed network."""

    accepted: bool
    details: str = ""
    inputs: tuple[str, ...] = ()
    outputs: tuple[tuple[int, ...], ...] = ()
    layers: tuple[str, ...] = ()


Fed = Mapping[Path, Mapping[str, NDArray[Any]]]


def verdicts(
    files: Iterable[Path], *, build: bool = False, fed: Fed | None = None, seconds: float = SECONDS
) -> dict[Path, Verdict]:
    """A verdict for each file.

    Args:
        files: ONNX files.
        build: Whether to compile as well.
        fed: File -> what its inputs are fed: compiled for these shapes, and for these values where they are shapes.
        seconds: Without a word, after which a file counts as refused.
    """
    found: dict[Path, Verdict] = {}
    waiting = list(files)
    known = {str(file): {name: _as_json(value) for name, value in of.items()} for file, of in (fed or {}).items()}
    while waiting:
        request = {"files": [str(file) for file in waiting], "build": build, "fed": known, "path": sys.path}
        ended, failed = _one_child(request, seconds, found)
        if ended is not None:
            found[ended] = Verdict(False, failed)
        elif not found.keys() & set(waiting):
            raise AssertionError(f"the child process says nothing: {failed}")
        waiting = [file for file in waiting if file not in found]
    return found


def _as_json(value: NDArray[Any]) -> dict[str, Any]:
    return {"shape": value.shape, "values": value.ravel().tolist() if value.dtype.kind in "ib" else None}


def _one_child(request: Mapping[str, Any], seconds: float, found: dict[Path, Verdict]) -> tuple[Path | None, str]:
    """Add verdicts to `found`; the file that ended the child, if one did, and how."""
    current: Path | None = None
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin and child.stdout and child.stderr
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.append(child.stderr.read()), daemon=True)  # type: ignore[union-attr]
        reader.start()
        child.stdin.write(json.dumps(request))
        child.stdin.close()
        timer = threading.Timer(seconds, child.kill)
        timer.start()
        for line in child.stdout:
            timer.cancel()
            timer = threading.Timer(seconds, child.kill)
            timer.start()
            message = json.loads(line)
            current = Path(message["file"])
            if "accepted" in message:
                outputs = tuple(tuple(shape) for shape in message["outputs"])
                lists = tuple(message["inputs"]), outputs, tuple(message["layers"])
                found[current] = Verdict(message["accepted"], message["details"], *lists)
                current = None
        timer.cancel()
        code = child.wait()
        reader.join()
    return current, f"the process ended with {code}: {''.join(said)[-300:]}"


def _main() -> None:
    import os

    request = json.load(sys.stdin)
    sys.path[:] = request["path"]
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # NVIDIA's libraries print
    import tensorrt_rtx

    from drnn_runtimes.trt.bindings import collecting_logger

    logger = collecting_logger(tensorrt_rtx)
    builder = tensorrt_rtx.Builder(logger)
    for file in request["files"]:
        print(json.dumps({"file": file}), file=answer, flush=True)
        print(
            json.dumps({"file": file, **_verdict(tensorrt_rtx, logger, builder, file, request)}),
            file=answer,
            flush=True,
        )


def _verdict(module: Any, logger: Any, builder: Any, file: str, request: Any) -> dict[str, Any]:
    from drnn_runtimes.trt.bindings import RefusedError, parse_network

    try:
        network = parse_network(module, builder, logger, file)
    except RefusedError as refused:
        return {"accepted": False, "details": "\n".join(refused.details), "inputs": [], "outputs": [], "layers": []}
    built = True
    if request["build"]:
        config = builder.create_builder_config()
        config.num_compute_capabilities = 1
        config.set_compute_capability(module.ComputeCapability.SM86, 0)
        _add_profile(builder, config, network, request["fed"].get(file, {}))
        built = builder.build_serialized_network(network, config) is not None
    layers = [network.get_layer(index).get_output(0) for index in range(network.num_layers)]
    return {
        "accepted": built,
        "details": "" if built else "\n".join(logger.errors[-2:]),
        "inputs": [network.get_input(index).dtype.name for index in range(network.num_inputs)],
        "outputs": [_shape(network.get_output(index)) for index in range(network.num_outputs)],
        "layers": [tensor.dtype.name for tensor in layers if tensor is not None],
    }


def _add_profile(builder: Any, config: Any, network: Any, fed: Mapping[str, Any]) -> None:
    """What is fed and nothing else, for every input with free axes and for those that are shapes."""
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        if tensor.name not in fed:
            continue
        if -1 in tuple(tensor.shape):
            profile.set_shape(tensor.name, *[tuple(fed[tensor.name]["shape"])] * 3)
        if tensor.is_shape_tensor and fed[tensor.name]["values"] is not None:
            profile.set_shape_input(tensor.name, *[fed[tensor.name]["values"]] * 3)
    config.add_optimization_profile(profile)


def _shape(tensor: Any) -> list[int]:
    try:
        return list(tensor.shape)
    except ValueError:  # of an unknown number of axes
        return []


if __name__ == "__main__":
    _main()
