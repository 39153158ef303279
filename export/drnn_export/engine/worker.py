"""The child process of `drnn_export.engine.build`: parses and compiles one ONNX graph with NVIDIA's builder.

It answers a request with a reply (`drnn_core.worker_process`):

    request  module, onnx, engine (file to write), compute_capabilities, batch,
             controls (BuildControls.request), timings (null, or the files of timings to read and to write),
             kernel (null, or of drnn_export.engine.kernel_inside.as_request)
    reply    inputs, outputs, flags, seconds, layers   or   error, details (a list of text)

It is a process of its own because NVIDIA's builder can crash or hang the process that it runs in.
"""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drnn_core.errors import DeployError
from drnn_core.worker_process import answer
from drnn_export.engine.kernel_inside import from_request, without_function
from drnn_runtimes.plugin.creator import building_with
from drnn_runtimes.trt.bindings import RefusedError, collecting_logger, data_type, parse_network


def main() -> None:
    """Answer one request."""
    answer(_reply)


def _reply(request: Mapping[str, Any]) -> dict[str, Any]:
    module = importlib.import_module(request["module"])
    try:
        if not request["kernel"]:
            return _build(module, request)
        with building_with(module, from_request(request["kernel"])) as plugins:
            try:
                return _build(module, request)
            except RefusedError:
                plugins.raise_error()  # which says more than the parser's refusal
                raise
    except RefusedError as refused:
        return {"error": str(refused), "details": refused.details}
    except DeployError as error:
        return {"error": error.message, "details": []}


def _build(module: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    start = time.perf_counter()
    logger = collecting_logger(module)
    builder = module.Builder(logger)
    network = _parsed(module, builder, logger, request)
    if request["kernel"]:
        _check_plugin(network)
    config = _configured(module, builder, logger, request)
    if request["batch"]:
        _add_profile(builder, config, network, logger, request["batch"])
    if request["timings"]:
        _add_timings(config, logger, *map(Path, request["timings"]))
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise RefusedError("the compiler does not take it", logger.errors)
    Path(request["engine"]).write_bytes(engine)
    if request["timings"]:
        Path(request["timings"][1]).write_bytes(config.get_timing_cache().serialize())
    return {
        "inputs": [_described(network.get_input(index)) for index in range(network.num_inputs)],
        "outputs": [_described(network.get_output(index)) for index in range(network.num_outputs)],
        "flags": {
            "tf32": bool(config.get_flag(module.BuilderFlag.TF32)),
            "strongly_typed": True,
            "version_compatible": bool(config.get_flag(module.BuilderFlag.VERSION_COMPATIBLE)),
        },
        "seconds": round(time.perf_counter() - start, 3),
        "layers": logger.layers,
    }


def _parsed(module: Any, builder: Any, logger: Any, request: Mapping[str, Any]) -> Any:
    if not (request["kernel"] and request["kernel"]["alone"]):
        return parse_network(module, builder, logger, request["onnx"])
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "alone.onnx"
        alone.write_bytes(without_function(Path(request["onnx"])))
        return parse_network(module, builder, logger, str(alone))


def _check_plugin(network: Any) -> None:
    """Refuse a network in which the parser took the function of the stack, and not the plugin."""
    kinds = [str(network.get_layer(index).type.name) for index in range(network.num_layers)]
    if kinds.count("PLUGIN_V3") != 1:
        raise RefusedError("the parser took the operators of the stack in place of the plugin", [])


def _configured(module: Any, builder: Any, logger: Any, request: Mapping[str, Any]) -> Any:
    config = builder.create_builder_config()
    config.profiling_verbosity = module.ProfilingVerbosity.DETAILED  # the kernels are read back from the log
    _control(module, config, logger, request["controls"])
    targets = request["compute_capabilities"]
    if targets:
        config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        value = getattr(module.ComputeCapability, "SM" + target.replace(".", ""))
        if not config.set_compute_capability(value, index):
            raise RefusedError(f"the builder does not build for compute capability {target}", logger.errors)
    return config


def _control(module: Any, config: Any, logger: Any, controls: Mapping[str, Any]) -> None:
    """What the builder does not take over is refused, not passed over."""
    flags = {"TF32": controls["tf32"], "VERSION_COMPATIBLE": controls["version_compatible"]}
    for name, on in flags.items():
        flag = getattr(module.BuilderFlag, name)
        if on:
            config.set_flag(flag)
        else:
            config.clear_flag(flag)  # TF32 is on by default, and rounds float32 products to 10 bits of mantissa
        if bool(config.get_flag(flag)) != on:
            raise RefusedError(f"the builder does not switch {name} {'on' if on else 'off'}", logger.errors)
    if controls["workspace_mib"] is not None:
        config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, controls["workspace_mib"] << 20)
    if (level := controls["optimization_level"]) is not None:
        config.builder_optimization_level = level
        if config.builder_optimization_level != level:
            raise RefusedError(f"the builder does not take optimisation level {level}", logger.errors)
    if controls["hardware"] != "NONE":
        wanted = getattr(module.HardwareCompatibilityLevel, controls["hardware"], None)
        config.hardware_compatibility_level = wanted or module.HardwareCompatibilityLevel.NONE
        if wanted is None or config.hardware_compatibility_level != wanted:
            raise RefusedError(f"the builder has no hardware level {controls['hardware']}", logger.errors)


def _add_timings(config: Any, logger: Any, known: Path, _: Path) -> None:
    """Let the builder use the kernel timings in `known`, if that is there, and add its own."""
    cache = config.create_timing_cache(known.read_bytes() if known.is_file() else b"")
    if cache is None or not config.set_timing_cache(cache, False):
        what = f"the timings in {known} are damaged, or of another GPU or version: remove the file"
        raise RefusedError(what, logger.errors)


def _add_profile(builder: Any, config: Any, network: Any, logger: Any, batch: list[int]) -> None:
    """One optimisation profile; every free axis of an input is the batch."""
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        if -1 in tuple(tensor.shape):
            shapes = [tuple(size if axis == -1 else axis for axis in tensor.shape) for size in batch]
            profile.set_shape(tensor.name, *shapes)
    if config.add_optimization_profile(profile) < 0:
        raise RefusedError(f"the builder does not take the batch sizes {batch}", logger.errors)


def _described(tensor: Any) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": data_type(tensor.dtype), "shape": list(tensor.shape)}


if __name__ == "__main__":
    main()
