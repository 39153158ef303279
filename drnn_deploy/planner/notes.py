"""What a reader of a plan must know about its figures, in words."""

from __future__ import annotations

from drnn_deploy.planner.candidates import RUN_WEIGHTS, UNITS, PlanTarget
from drnn_deploy.planner.cost_model import shipped_costs
from drnn_runtimes.registry import find_runtime

_WEIGHTS = (
    "{target} runs the weights: how the graph is written (its style) and where delay lines are kept (ring) make no"
    " difference, so each form is listed once",
    "with {target}, a stream of form step also takes many samples in one push, at about the cost per step of a chunk",
)


_PLUGIN = (
    "drnn-export --plugin puts the project's CUDA kernel into the engine: one launch for all layers in place of those"
    " counted here, built in seconds (docs/plugin.md); what it is worth: --target cuda-kernel"
)
_PRUNED = "native prunes whole sequences, whatever the graph"


def plan_notes(target: PlanTarget) -> list[str]:
    """Where the estimates come from, what they leave out, and whether the target runs here, a line each.

    Args:
        target: Where the graph will run.
    """
    notes = [f"estimates from measurements on: {_measured_on(target)} (docs/costs.md)"]
    if UNITS[target] != "us":
        notes.append(f"no GPU has been measured: a run is counted in {UNITS[target]}, one after the other")
    if target == "tensorrt":
        notes.append(_PLUGIN)
    if target in RUN_WEIGHTS:
        available = find_runtime(target).availability()
        what = f"{target} cannot run here: {available.detail}. {available.fix}".rstrip()
        notes += [note.format(target=target) for note in _WEIGHTS]
        notes += [_PRUNED] if target == "native" else []
        notes += [] if available.usable else [what]
    return notes


def _measured_on(target: PlanTarget) -> str:
    shipped = shipped_costs()
    if target == "native":
        machine = shipped["native"]["machine"]
        return f"{machine['processor']}, one thread, {machine['compiler']}"
    machine = shipped["machine"]
    return f"{machine['processor']}, one thread, ONNX Runtime {machine['versions']['onnxruntime-gpu']}"
