"""A change of what is emitted raises the revision: otherwise older bundles would fail, or wrong ones be excused."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from pathlib import Path

import numpy as np

from drnn_core.errors import InputError
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_export.emitter.revision import EMITTER_REVISION
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_models.weights import Weights

PINNED = Path(__file__).parent / "emitted.json"  # revision -> digest of all graphs below
NETWORKS = [
    ModelSpec("rnn", (3, 4), (1, 2), Continuous(2), Head("last", 2)),
    ModelSpec("rnn", (3, 4, 3), (2, 4, 8), Continuous(1), Head("last_k", 2, 3), activation="relu"),
    ModelSpec("gru", (3, 4), (1, 3), Tokens(7), Head("sequence", 2)),
    ModelSpec("gru", (3, 3), (1, 2), Tokens(9, 2), Head("last", 2), reset="before"),
    ModelSpec("lstm", (3, 5, 2), (1, 2, 4), Continuous(2), Head("sequence", 3)),
    ModelSpec("lstm", (4,), (3,), Continuous(1), Head("last", 2)),
]
REQUESTS = [
    (precision, {"form": form, "steps": steps, "emission": emission, "batch": batch, "prune": prune, "ring": ring})
    for (form, steps, ring), emission, (precision, batch, prune) in itertools.product(
        (("sequence", 7, False), ("chunk", 5, False), ("chunk", 2, True), ("step", 1, False)),
        ("fused", "unrolled", "mixed", "skewed", "plugin"),
        (
            ("fp32", 2, True),
            ("fp32", 1, False),
            ("fp32", None, True),
            ("fp16", 2, True),
            ("bf16", 1, True),
            ("int8", 2, True),
        ),
    )
]


def weights(spec: ModelSpec) -> Weights:
    """Without random numbers, which another NumPy may draw in another way."""
    return {
        name: ((np.arange(math.prod(shape)) * 0.618 % 1) - 0.5).astype(np.float32).reshape(shape)
        for name, shape in spec.weight_shapes().items()
    }


def digest() -> str:
    """Of every graph that can be had of these networks, without the version of the package."""
    found, count = hashlib.sha256(), 0
    for (place, spec), (precision, words) in itertools.product(enumerate(NETWORKS), REQUESTS):
        if precision != "fp32" and place % 3:
            continue
        try:
            request = GraphRequest(**words, precision=precision)  # type: ignore[arg-type]
        except InputError:
            continue
        model = emit(spec, weights(spec), request)
        model.ClearField("producer_version")
        found.update(model.SerializeToString(deterministic=True))
        count += 1
    assert count > 150
    return found.hexdigest()


def test_graphs_are_those_of_the_revision() -> None:
    pinned = json.loads(PINNED.read_text(encoding="utf-8"))
    now = digest()
    told = f"graphs changed: raise EMITTER_REVISION and add it with {now} to {PINNED.name}; what is there stays"
    assert max(map(int, pinned)) == EMITTER_REVISION, told
    assert pinned[str(EMITTER_REVISION)] == now, told
