"""`drnn-deploy doctor`."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from drnn_deploy.cli.command import command
from drnn_deploy.cli.console import json_option, make_console, show_next, styled, write_json
from drnn_deploy.cli.options import device_options
from drnn_deploy.cli.tables import Column, print_table

if TYPE_CHECKING:
    from drnn_core.types import Availability
    from drnn_runtimes.trt.bindings import Flavour

_WORKS = {True: ("yes", "green"), False: ("no", "yellow")}


@command()
@device_options
@json_option
def doctor(json_path: str | None) -> None:
    """Show what is installed here, which GPU, which providers, what will work and what to install for the rest."""
    facts = examine()
    write_json(json_path, facts)
    console = make_console(json_path)
    console.print(f"Python {facts['python']} on {facts['platform']}")
    console.print(f"GPU: {facts['gpu']}")
    console.print(", ".join(f"{name} {version or 'absent'}" for name, version in facts["packages"].items()))
    console.print(f"ONNX Runtime providers: {', '.join(facts['providers']) or 'none'}")
    fixes: dict[str, list[str]] = {}
    for kind in ("runtimes", "engine builders", "plugins"):
        rows = []
        for name, entry in facts[kind].items():
            rows.append([name, styled(*_WORKS[entry["usable"]]), entry["detail"]])
            if not entry["usable"] and entry["fix"]:
                fixes.setdefault(entry["fix"], []).append(name)
        columns = Column(kind, kind="name"), Column("works here", kind="name"), Column("detail", kind="prose")
        print_table(console, columns, rows)
    for fix, names in fixes.items():
        console.print(f"for {', '.join(dict.fromkeys(names))}: {fix}")
    show_next(console, "drnn-export model.pt")


def examine() -> dict[str, Any]:
    """Everything `doctor` shows, as plain JSON types."""
    from drnn_core.environment import PACKAGES, installed_versions, system
    from drnn_core.gpu import gpu, gpu_reason
    from drnn_export.engine.build import BACKENDS, backend_availability
    from drnn_runtimes.registry import RUNTIMES

    device = gpu()
    packages = (*PACKAGES, "cuda-bindings", "ziglang")
    versions = installed_versions(packages)
    builders = {name: backend_availability(name) for name in BACKENDS}
    runtimes = {name: runtime.availability() for name, runtime in RUNTIMES.items()}
    seen = f"{device.name}, compute capability {device.compute_capability}" if device else f"none: {gpu_reason()}"
    return {
        "python": platform.python_version(),
        "platform": system(),
        "gpu": seen,
        "packages": {name: versions.get(name) for name in packages},
        "providers": _providers(),
        "runtimes": {name: {"usable": a.usable, "detail": a.detail, "fix": a.fix} for name, a in runtimes.items()},
        "engine builders": {
            name: {"usable": a.usable, "detail": a.detail, "fix": a.fix} for name, a in builders.items()
        },
        "plugins": {"kernel in an engine": _kernel_in_an_engine(builders)},
    }


def _kernel_in_an_engine(builders: Mapping[Flavour, Availability]) -> dict[str, Any]:
    """Whether `drnn-export --plugin` can put the CUDA kernel into an engine here."""
    from drnn_runtimes.cuda_kernel.nvrtc import nvrtc_availability
    from drnn_runtimes.plugin.versions import parser_rule
    from drnn_runtimes.trt.bindings import tensorrt_module

    compiler, usable = nvrtc_availability(), [name for name, builder in builders.items() if builder.usable]
    if not compiler.usable or not usable:
        detail, fix = (compiler.detail, compiler.fix) if usable else ("no engine can be built here", "")
        return {"usable": False, "detail": detail, "fix": fix}
    flavour: Flavour = "tensorrt" if "tensorrt" in usable else "tensorrt-rtx"
    rule = parser_rule(flavour, tensorrt_module(flavour).version)
    known = "as was seen" if rule.ran else "as its changelog says, not run"
    detail = f"{compiler.detail}; the parser of {flavour} takes the {rule.winner}, {known}"
    return {"usable": True, "detail": detail, "fix": ""}


def _providers() -> list[str]:
    try:
        import onnxruntime
    except ImportError:
        return []
    return list(onnxruntime.get_available_providers())
