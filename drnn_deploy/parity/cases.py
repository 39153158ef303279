"""The standard cases: the inputs that every runtime is checked on, whoever exported the bundle.

- `zeros`, `normal`, `large` (saturates every gate), `ramp`: whole sequences. Of a network that reads tokens, the ramp
  goes through the whole vocabulary.
- `stream`: what graphs with state are fed from the zero state on, chunk after chunk, with every token, too.

- `edge PRECISION`, `edge stream PRECISION`: the ends of its range (`drnn_deploy.parity.edges`).

Beside them, `drnn_deploy.parity.seeded_states` checks graphs with state from states that are not zero.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from drnn_core.types import NamedGraph
from drnn_models.spec import ModelSpec, Tokens

STREAM = "stream"
STANDARD = "zeros", "normal", "large", "ramp", STREAM  # beside them the edges of precisions
DIFFERENT_ROWS = "normal"  # the case whose sequences all differ
_SEQUENCES = 4  # of each kind; `drnn_deploy.parity.rows` tells the rows of any batch apart with them
_STREAMS = 2
_LARGE = 30.0  # saturates every gate
_MOST_ROWS = 256  # of sequences that each end in another token


@dataclasses.dataclass(frozen=True)
class CaseInputs:
    """Inputs of a case, before float64 has seen them.

    Attributes:
        name: For example "normal".
        inputs: (N, T, C) float32, or (N, T) int64 tokens.
        targets: The true classes of real data.
        source: Where the inputs come from.
        stream: Whether they are for graphs with state.
    """

    name: str
    inputs: NDArray[np.generic]
    targets: NDArray[np.int64] | None = None
    source: str = "generated"
    stream: bool = False


def sequence_cases(spec: ModelSpec, length: int, *, seed: int = 0) -> list[CaseInputs]:
    """The cases of whole sequences.

    Args:
        spec: The network.
        length: The time steps of the sequences.
        seed: The seed of the random inputs.
    """
    return [CaseInputs(name, inputs) for name, inputs in _synthetic(spec, length, seed).items()]


def stream_case(spec: ModelSpec, length: int, chunk: int, *, seed: int = 0) -> CaseInputs:
    """The case of graphs with state: normal inputs, and sequences with every token.

    Args:
        spec: The network.
        length: The time steps of the stream.
        chunk: The time steps of the longest run of a graph.
        seed: The seed of the random inputs.
    """
    inputs = _synthetic(spec, length, seed)["normal"][:_STREAMS]
    if isinstance(spec.input, Tokens):
        inputs = np.concatenate([inputs[:1], _every_token(spec, spec.input.vocabulary, length, chunk, 1)])
    return CaseInputs(STREAM, inputs, stream=True)


def stream_length(spec: ModelSpec, graphs: Sequence[NamedGraph], longest: int = 512) -> int:
    """The time steps of the stream: two chunks of every graph, and each delay line twice round if there is room.

    Longer delay lines are checked by `drnn_deploy.parity.seeded_states`.

    Args:
        spec: The network.
        graphs: The graphs with state.
        longest: The most steps that delay lines are a reason for.

    Returns:
        Time steps.
    """
    chunk = max(graph.steps for graph in graphs)
    return max(2 * chunk, min(2 * max(spec.dilations) + chunk, longest))


def answered_steps(chunk: int, answers: int, length: int) -> NDArray[np.int64]:
    """The time steps of a stream that get an output: the last ones of every chunk.

    Args:
        chunk: The time steps of a run.
        answers: How many of them the head answers (`Head.output_steps`).
        length: The time steps of the stream.

    Returns:
        The time steps (m,), in ascending order.
    """
    ends = np.arange(chunk, length + 1, chunk)
    return (ends[:, None] + np.arange(-answers, 0)).reshape(-1)


def _synthetic(spec: ModelSpec, length: int, seed: int) -> dict[str, NDArray[np.generic]]:
    random = np.random.default_rng(seed)
    if isinstance(spec.input, Tokens):
        shape, symbols = (_SEQUENCES, length), spec.input.vocabulary
        return {
            "zeros": np.zeros(shape, np.int64),
            "normal": random.integers(0, symbols, shape, dtype=np.int64),
            "large": np.full(shape, symbols - 1, np.int64),
            "ramp": _every_token(spec, symbols, length, length, _SEQUENCES),
        }
    full = (_SEQUENCES, length, spec.input.features)
    ramp = np.linspace(-1.0, 1.0, length, dtype=np.float32)[None, :, None]
    slopes = np.linspace(0.25, 1.0, _SEQUENCES, dtype=np.float32)[:, None, None]
    return {
        "zeros": np.zeros(full, np.float32),
        "normal": random.standard_normal(full, dtype=np.float32),
        "large": (_LARGE * random.standard_normal(full, dtype=np.float32)).astype(np.float32),
        "ramp": np.broadcast_to(slopes * ramp, full).astype(np.float32),
    }


def sequence_rows(spec: ModelSpec, length: int) -> int:
    """The sequences of `sequence_cases` together.

    Args:
        spec: The network.
        length: The time steps of the sequences.
    """
    symbols = spec.input.vocabulary if isinstance(spec.input, Tokens) else 0
    return 3 * _SEQUENCES + _token_rows(symbols, spec.head.output_steps(length), length, _SEQUENCES)


def _token_rows(symbols: int, answered: int, length: int, least: int) -> int:
    """Sequences in which every token comes, at steps that are answered where 256 sequences have room for that."""
    rows = max(least, math.ceil(symbols / answered))
    return rows if rows <= _MOST_ROWS else max(least, math.ceil(symbols / length))


def _every_token(spec: ModelSpec, symbols: int, length: int, chunk: int, least: int) -> NDArray[np.int64]:
    """Sequences (N, T) in which every token occurs, N at least `least`.

    A token early in a sequence hardly shows in an output of its end. So each token comes at a step that is answered,
    where 256 sequences have room for that; else all come in their order.
    """
    answered = answered_steps(chunk, spec.head.output_steps(chunk), length)
    rows = _token_rows(symbols, len(answered), length, least)
    tokens = (np.arange(rows * length, dtype=np.int64) % symbols).reshape(rows, length)
    if rows * len(answered) >= symbols:
        tokens[:, answered] = (np.arange(rows * len(answered), dtype=np.int64) % symbols).reshape(rows, -1)
    return tokens
