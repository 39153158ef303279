"""The kernel on the host, over a test's network: whole sequences, and pieces with states between them."""

from __future__ import annotations

import dataclasses

import numpy as np

from drnn_models.spec import Head
from drnn_models.weights import Weights
from drnn_runtimes.cuda_kernel import HostKernel, KernelOptions, pack_state, pack_weights, plan_kernel, unpack_state
from drnn_runtimes.cuda_kernel.around import kernel_answers, kernel_inputs, run_head
from tests.networks import Case


def rounded_weights(weights: Weights, options: KernelOptions) -> Weights:
    """The weights that the kernel computes with: of fp16 the layers' matrices, and nothing else, are rounded."""
    if options.weights == "fp32":
        return weights
    narrow = {name: value.astype(np.float16).astype(np.float32) for name, value in weights.items()}
    return {name: narrow[name] if "weight_ih" in name or "weight_hh" in name else weights[name] for name in weights}


def check_whole(
    case: Case, options: KernelOptions, source: str | None = None, *, seeds: tuple[int, ...] = (1,)
) -> None:
    """Whole sequences from the zero state, in orders of threads that give the same bits."""
    spec, answers = case.spec, kernel_answers(case.spec, case.length)
    kernel = HostKernel(plan_kernel(spec, options), source)
    packed, inputs = pack_weights(kernel.plan, case.weights), kernel_inputs(spec, case.weights, case.inputs)
    exact = dataclasses.replace(case, weights=rounded_weights(case.weights, options))
    tops = [kernel.run(inputs, packed, answers, seed=seed)[0] for seed in seeds]
    assert all(top.tobytes() == tops[0].tobytes() for top in tops)
    outputs, _ = run_head(spec, case.weights, tops[0], case.length)
    exact.assert_within_noise(outputs[:, 0] if spec.head.kind == "last" else outputs)


def check_pieces(case: Case, options: KernelOptions, pieces: list[int], source: str | None = None) -> None:
    """A sequence in pieces of these lengths and the rest: outputs of every step, and the state at the end."""
    spec = dataclasses.replace(case.spec, head=Head("sequence", case.spec.head.outputs))
    kernel = HostKernel(plan_kernel(spec, options), source)
    packed, inputs = pack_weights(kernel.plan, case.weights), kernel_inputs(spec, case.weights, case.inputs)
    exact = Case(spec, rounded_weights(case.weights, options), case.inputs)
    outputs, start, past = [], 0, None
    state = pack_state(spec, {n: np.zeros(s, np.float32) for n, s in spec.state_shapes(len(inputs)).items()})
    while start < case.length:
        steps = min(pieces[len(outputs) % len(pieces)], case.length - start)
        top, after = kernel.run(
            inputs[:, start : start + steps], packed, steps, state if start else None, keep_state=True, seed=start
        )
        assert after is not None
        answer, past = run_head(spec, case.weights, top, steps, past)
        outputs.append(answer)
        state, start = after, start + steps
    exact.assert_within_noise(np.concatenate(outputs, axis=1))
    for name, line in unpack_state(spec, len(inputs), state).items():
        np.testing.assert_allclose(line, exact.reference().state[name], atol=1e-4, rtol=1e-4)
