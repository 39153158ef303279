"""Random networks for property tests, and the noise that float32 itself makes on them."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray

from drnn_core.types import Precision
from drnn_deploy.parity.cases import sequence_cases
from drnn_deploy.parity.golden import known_answers
from drnn_deploy.parity.tolerance import NOISE_MULTIPLE
from drnn_models.baseline_specs import ConvSpec, SkipSpec
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_models.weights import Weights
from drnn_runtimes.bundle import GoldenCase
from drnn_runtimes.reference.loop import Reference, run_reference
from drnn_runtimes.reference.noise import Answer, answer

TINY = np.finfo(np.float64).tiny


@dataclasses.dataclass(frozen=True)
class Case:
    """A network with inputs (B, T, ...), its float64 outputs and the noise of float32 on them."""

    spec: ModelSpec
    weights: Weights
    inputs: NDArray[np.generic]

    @property
    def length(self) -> int:
        return self.inputs.shape[1]

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.spec, self.weights)

    def reference(self) -> Reference:
        return run_reference(self.spec, self.weights, self.inputs)

    def answer(self, *precisions: Precision) -> Answer:
        """The outputs and the noise on them, of one float64 loop: `reference` and `limit` run it each."""
        return answer(self.spec, self.weights, self.inputs, precisions)

    def torch_outputs(self, *, prune: bool = True) -> NDArray[np.float32]:
        with torch.inference_mode():
            outputs: NDArray[np.float32] = (
                self.checkpoint().network()(torch.from_numpy(self.inputs), prune=prune).numpy()
            )
        return outputs

    def assert_within_noise(self, outputs: NDArray[np.generic]) -> None:
        right = self.answer()
        assert outputs.shape == right.outputs.shape
        limit = NOISE_MULTIPLE * right.noises["fp32"]
        share = float((np.abs(outputs - right.outputs) / (limit + TINY)).max())
        assert share <= 1, f"{NOISE_MULTIPLE * share:.1f} times the noise"

    def limit(self, precision: Precision = "fp32") -> NDArray[np.float64]:
        """The largest error that parity lets pass, of each output of a sequence."""
        return NOISE_MULTIPLE * self.answer(precision).noises[precision]


def golden_cases(checkpoint: Checkpoint, length: int) -> list[GoldenCase]:
    """What is right for the standard cases of whole sequences."""
    spec, weights = checkpoint.dilated, checkpoint.weights
    return known_answers(spec, weights, sequence_cases(spec, length), ())


def random_weights(spec: ModelSpec, seed: int) -> Weights:
    random = np.random.default_rng(seed)
    return {
        name: (random.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)
        for name, shape in spec.weight_shapes().items()
    }


def random_inputs(spec: ModelSpec, batch: int, length: int, seed: int) -> NDArray[np.generic]:
    random = np.random.default_rng(seed)
    if isinstance(spec.input, Tokens):
        return random.integers(0, spec.input.vocabulary, (batch, length), dtype=np.int64)
    return random.standard_normal((batch, length, spec.input.features), dtype=np.float32)


def make_case(spec: ModelSpec, batch: int, length: int, seed: int = 0) -> Case:
    return Case(spec, random_weights(spec, seed), random_inputs(spec, batch, length, seed + 1))


_small = st.integers(1, 5)
_heads = st.one_of(
    st.builds(Head, st.just("last"), _small),
    st.builds(Head, st.just("sequence"), _small),
    st.builds(Head, st.just("last_k"), _small, st.integers(1, 6)),
)
_inputs = st.one_of(
    st.builds(Continuous, st.integers(1, 3)),
    st.builds(Tokens, st.integers(1, 6), st.none() | st.integers(1, 3)),
)


@st.composite
def specs(draw: st.DrawFn, cell: str | None = None) -> ModelSpec:
    """Any cell, 1 to 4 layers, hidden 1 to 7, dilations 1 to 9 in any order with repeats, every input and head."""
    layers = draw(st.integers(1, 4))
    cell = cell or draw(st.sampled_from(["rnn", "gru", "lstm"]))
    return ModelSpec(
        cell=cell,  # type: ignore[arg-type]
        hidden=tuple(draw(st.lists(st.integers(1, 7), min_size=layers, max_size=layers))),
        dilations=tuple(draw(st.lists(st.integers(1, 9), min_size=layers, max_size=layers))),
        input=draw(_inputs),
        head=draw(_heads),
        activation=draw(st.sampled_from(["tanh", "relu"])) if cell == "rnn" else "tanh",
        fusion=draw(st.none() | st.just(False)),
        reset=draw(st.sampled_from(["after", "before"])) if cell == "gru" else "after",
    )


@st.composite
def skip_specs(draw: st.DrawFn) -> SkipSpec:
    return SkipSpec(dataclasses.replace(draw(specs()), fusion=False, reset="after"))


@st.composite
def conv_specs(draw: st.DrawFn) -> ConvSpec:
    stack = draw(specs("rnn"))
    return ConvSpec(stack.hidden, stack.dilations, stack.input, stack.head)


@st.composite
def cases(draw: st.DrawFn, cell: str | None = None) -> Case:
    """A random network on 1 to 3 random sequences of 1 to 30 steps: also shorter than its dilations."""
    return make_case(draw(specs(cell)), draw(st.integers(1, 3)), draw(st.integers(1, 30)), draw(st.integers(0, 2**31)))
