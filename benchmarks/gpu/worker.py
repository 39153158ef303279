"""The child process of `benchmarks.gpu.check`: runs parts and answers with what came of each.

    request  part, device, quick, work (see `benchmarks.gpu.plan.Setting`)
    rows     the part's own results, each at once
    reply    status (ok, failed, refused, missing), reason unless it is ok, and what else the part found

ok: it ran, and what is checked is right. failed: it is wrong, or broke. refused: the compiler, the GPU or a provider
does not take it. missing: something that it needs is not on this machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.gpu.plan import FLAVOURS, RUNTIMES, SMOKE, SURVEY, TRAINING, Device, Row, Rows, Setting
from drnn_core.errors import DeployError, EngineError, RuntimeUnavailableError
from drnn_core.worker_process import answer

if TYPE_CHECKING:
    from drnn_deploy.parity.results import ParityRow

_REFUSALS = (RuntimeUnavailableError.exit_code, EngineError.exit_code)
_LONGEST = 600  # characters of an error that a reason repeats


def reply(request: Mapping[str, Any]) -> Rows:
    """See above. Never raises: what a part raises is its reason."""
    try:
        device: Device = "cpu" if request["device"] == "cpu" else "cuda"
        setting = Setting(device, bool(request["quick"]), Path(request["work"]))
        found = run_part(setting, str(request["part"]))
        return (yield from found) if isinstance(found, Generator) else found
    except DeployError as error:
        return {"status": _status(error), "reason": str(error)}
    except Exception as error:  # whatever CUDA, torch or NVIDIA's modules raise is a result of the check
        return {"status": "failed", "reason": f"{type(error).__name__}: {str(error).strip()[:_LONGEST]}"}


def run_part(setting: Setting, part: str) -> Row | Rows:
    """Run the part of this name: what it answers, or what yields its rows first. Raises whatever it raises."""
    kind, *rest = part.split("/")
    if kind == SURVEY:
        return survey(setting)
    if kind in ("export", "engines"):
        from benchmarks.gpu.bundles import write_bundles

        return write_bundles(setting, *rest)
    if kind == "parity":
        return parity(setting, *rest)
    if kind == SMOKE:
        return parity(setting, SMOKE, *rest)
    if kind.startswith("kernel-"):
        from benchmarks.gpu import kernel

        return (kernel.parity if kind == "kernel-parity" else kernel.times)(setting, *rest)
    if kind == "tf32":
        from benchmarks.gpu.tf32 import rounding

        return rounding(setting, *rest)
    from benchmarks.gpu import timing, training

    if kind == "graph" and rest[1] == TRAINING:
        return training.steps(setting, *rest)
    return {"latency": timing.latency, "stream": timing.streams, "graph": timing.graphs}[kind](setting, *rest)


def survey(setting: Setting) -> Row:
    """Which runtimes are usable, and `blocked`: what cannot run, with the status and reason for parts that need it."""
    from drnn_export.engine.build import BACKENDS, backend_availability
    from drnn_runtimes.registry import RUNTIMES as REGISTRY

    found, blocked = {}, {}
    for name in dict.fromkeys((*RUNTIMES[setting.device], "torch-cuda", *FLAVOURS)):
        available = REGISTRY[name].availability()
        if not available.usable:
            blocked[name] = {"status": "missing", "reason": f"{available.detail}. {available.fix}"}
        elif name in BACKENDS and not (built := backend_availability(name)).usable:
            available = built
            blocked[name] = {"status": "refused", "reason": f"{built.detail}. {built.fix}"}
        found[name] = {"usable": available.usable, "detail": available.detail}
    return {"status": "ok", "runtimes": found, "libraries": libraries(), "blocked": blocked}


def libraries() -> dict[str, str]:
    """The versions of CUDA and cuDNN that PyTorch has, and of the CUDA that ONNX Runtime was built for."""
    import onnxruntime
    import torch

    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    found = {
        "CUDA of torch": torch.version.cuda,
        "cuDNN of torch": cudnn and f"{cudnn // 10000}.{cudnn // 100 % 100}.{cudnn % 100}",
        "CUDA of onnxruntime": getattr(onnxruntime, "cuda_version", ""),
    }
    return {name: str(version) for name, version in found.items() if version}


def parity(setting: Setting, network: str, runtime: str) -> Rows:
    """Every graph of the network's bundles through one runtime, against float64."""
    from benchmarks.gpu.bundles import open_bundle, sets_of
    from drnn_deploy.parity.check import check_parity
    from drnn_deploy.parity.graphs import graphs_for
    from drnn_deploy.parity.known_answers import StoredAnswers
    from drnn_runtimes.registry import find_runtime

    rows: list[Row] = []
    left_out: list[Row] = []
    for of in sets_of(setting, network):
        bundle, found = open_bundle(setting, network, of, runtime), find_runtime(runtime)
        answers = StoredAnswers(bundle)  # its own: to compute them again takes a minute of the GPU's time
        for graph in graphs_for(found, bundle):
            report = check_parity(dataclasses.replace(bundle, graphs=(graph,)), [found], answers=answers)
            for row in report.rows:
                rows.append(_parity_row(of if network == SMOKE else "", row))
                yield rows[-1]
            left_out += [{"graph": entry.graph, "reason": entry.reason} for entry in report.missing]
    return {**_verdict(rows, left_out), "left_out": left_out}


def _parity_row(cell: str, row: ParityRow) -> Row:
    worst = row.worst
    return {
        "graph": f"{cell}/{row.graph}" if cell else row.graph,
        "precision": row.precision,
        "passed": row.passed,
        "exit_code": row.exit_code,
        "error": None if worst is None else worst.absolute,
        "in_noise": None if worst is None else worst.in_noise,
        "agreement": None if worst is None else worst.agreement,
        "milliseconds": row.milliseconds,
        "seconds": row.seconds,
        "reason": row.error,
    }


def _verdict(rows: list[Row], left_out: list[Row]) -> Row:
    """Failed where numbers are wrong, else what the first graph that did not get as far as numbers says."""
    wrong = [row for row in rows if not row["passed"]]
    if wrong:
        first = min(wrong, key=lambda row: bool(row["reason"]))
        status = "refused" if first["reason"] and first["exit_code"] in _REFUSALS else "failed"
        what = first["reason"] or f"error {first['error']}, {first['in_noise']} times the noise"
        return {"status": status, "reason": f"{len(wrong)} of {len(rows)} graphs; {first['graph']}: {what}"}
    if not rows:
        return {"status": "missing", "reason": left_out[0]["reason"] if left_out else "there is no graph to check"}
    return {"status": "ok"}


def _status(error: DeployError) -> str:
    """What is not on the machine at all was found by the survey, so a runtime that is unavailable now has refused."""
    return "refused" if error.exit_code in _REFUSALS else "failed"


if __name__ == "__main__":
    answer(reply)
