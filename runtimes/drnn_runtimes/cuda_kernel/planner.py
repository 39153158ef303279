"""Which variant of the kernel computes a network, and which steps."""

from __future__ import annotations

import math

from drnn_core.errors import InputError
from drnn_models.spec import ModelSpec
from drnn_runtimes.cuda_kernel.layout import MOST_THREADS, WARP, movers_of, resident_plan, streamed_plan, whole_warps
from drnn_runtimes.cuda_kernel.plan import KernelOptions, KernelPlan

_BLOCKS = (
    (8, 4),
    (8, 2),
    (8, 1),
    (4, 2),
    (2, 1),
)  # steps between barriers, and those whose inputs are multiplied together
_STREAMED_BLOCKS = (16, 8, 4, 2, 1)
_REGISTERS = 65536 // 4  # of a quarter of a multiprocessor, which has a quarter of the warps
_REGISTERS_OF_A_THREAD = 255
_REGISTERS_BESIDE_VALUES = 48  # addresses, counters, activations
_NAMED_BARRIERS = 15  # beside the one of the block


def plan_kernel(spec: ModelSpec, options: KernelOptions | None = None) -> KernelPlan:
    """Choose how the kernel computes a network.

    The resident variant is taken where weights fit into registers and shared memory, with the pasts of the longest
    dilations in the workspace where need be.

    Args:
        spec: The network.
        options: What to compute and where; by default all steps, of one sequence a block, in float32.

    Raises:
        InputError: No variant fits, or not the one that was asked for. The message says why.
    """
    options = options or KernelOptions()
    kinds = {"resident": _resident, "streamed": _streamed}
    reasons = []
    for variant in [options.variant] if options.variant else kinds:
        plan = kinds[variant](spec, options)
        if isinstance(plan, KernelPlan):
            return plan
        reasons.append(f"{variant}: {plan}")
    raise InputError(f"the kernel cannot compute {spec.short_name}. {'; '.join(reasons)}", "Use another runtime.")


def folds(spec: ModelSpec, answers: int | None) -> tuple[int, ...]:
    """How many consecutive residues modulo its dilation each layer computes, the first layer first.

    They begin at the first step that is wanted. Where the residues that a layer needs are not consecutive, all are
    computed.

    Args:
        spec: The network.
        answers: Wanted steps at the end; None for all.
    """
    if answers is None:
        return spec.dilations
    needed, spacing, result = answers, 0, []
    for dilation in reversed(spec.dilations):
        # needed are the steps that lie up to `needed` behind a multiple of `spacing`, seen from the first wanted step
        common = math.gcd(dilation, spacing)
        fold = min(needed, dilation) if common == dilation or needed >= dilation else dilation
        result.append(fold)
        needed, spacing = fold, dilation
    return tuple(reversed(result))


def _resident(spec: ModelSpec, options: KernelOptions) -> KernelPlan | str:
    """The plan, or why there is none."""
    reason = ""
    for block, ahead in _BLOCKS:
        if refused := _not_resident(spec, options, block, ahead):
            reason = reason or refused
            continue
        for far in _farther(spec, options):
            plan = resident_plan(spec, options, folds(spec, options.answers), block, ahead, far)
            gathered = all(layer.fold >= block for layer in plan.layers if layer.far)
            if gathered and plan.shared_bytes <= options.shared_memory:
                return plan
    return reason or _too_small(options)


def _streamed(spec: ModelSpec, options: KernelOptions) -> KernelPlan | str:
    """The plan, or why there is none."""
    if max(spec.hidden) > MOST_THREADS:
        return f"a layer has {max(spec.hidden)} units, and a block {MOST_THREADS} threads"
    for block in _STREAMED_BLOCKS:
        plan = streamed_plan(spec, options, folds(spec, options.answers), block)
        if plan.shared_bytes <= options.shared_memory:
            return plan
    return _too_small(options)


def _too_small(options: KernelOptions) -> str:
    return f"it needs more than {options.shared_memory:,} bytes of shared memory"


def _not_resident(spec: ModelSpec, options: KernelOptions, block: int, ahead: int) -> str:
    """Why registers and threads do not hold a network, or ""."""
    threads = sum(map(whole_warps, spec.hidden)) + movers_of(spec, options, block)
    if threads > MOST_THREADS:
        return f"it needs {threads} threads, and a block has {MOST_THREADS}"
    if spec.layers > _NAMED_BARRIERS and max(spec.hidden) > WARP:
        return f"more than {_NAMED_BARRIERS} layers with more than {WARP} units have no barriers of their own"
    registers = min(_REGISTERS_OF_A_THREAD, _REGISTERS // (WARP * -(-threads // (4 * WARP))) // 8 * 8)
    gates, widest = spec.gates, max(spec.hidden)
    row = widest if gates > 1 else WARP // 2  # with one gate, its values are used as they come
    needed = gates * widest + options.rows * (ahead * gates + row) + _REGISTERS_BESIDE_VALUES
    return f"a thread needs about {needed} registers, and has {registers}" if needed > registers else ""


def _farther(spec: ModelSpec, options: KernelOptions) -> list[int]:
    """The least fold whose past leaves shared memory, in the order of trying: none, then the longest pasts first."""
    return [1 << 30, *sorted(set(folds(spec, options.answers)), reverse=True)]
