"""Mutants of weights and cells: what is wrong, in which part, and what the verdict must say of it."""

from __future__ import annotations

import numpy as np

from tests.drnn_deploy.debug.mutants.mutant import (
    BOTH,
    Mutant,
    attribute,
    both,
    constant,
    emitted_from,
    flipped,
    half_zero,
    operator,
    read,
    reset_before_the_product,
    swapped_gates,
    weights,
)

FLIPPED = "differs from the weights in 1 of"

WEIGHTS = [
    Mutant("first W", "gru", "layer 0", f"initializer l0/operator/W {FLIPPED} 24", weights("l0/operator/W", flipped)),
    Mutant(
        "middle R", "lstm", "layer 1", f"initializer l1/operator/R {FLIPPED} 100", weights("l1/operator/R", flipped)
    ),
    Mutant(
        "last B", "gru-whole", "layer 2", f"initializer l2/operator/B {FLIPPED} 36", weights("l2/operator/B", flipped)
    ),
    Mutant("unrolled R", "gru-unrolled", "layer 1", f"initializer l1/Rn {FLIPPED} 25", weights("l1/Rn", flipped)),
    Mutant(
        "skewed W",
        "lstm-skewed",
        "layer 1",
        f"initializer skew/gates/W {FLIPPED} 864",
        weights("skew/gates/W", lambda w: np.stack([w[0], flipped(w[1].copy()), w[2]])),
    ),
    Mutant("head W", "gru", "head", f"initializer head/W {FLIPPED} 18", weights("head/W", flipped)),
    Mutant("head bias", "lstm", "head", f"initializer head/B {FLIPPED} 3", weights("head/B", flipped)),
    Mutant("fusion W", "fusion", "head", f"initializer head/W {FLIPPED} 36", weights("head/W", flipped)),
    Mutant(
        "classes in another order",
        "gru",
        "head",
        "initializer head/B differs from the weights in 3 of 3",
        weights("head/B", lambda b: np.roll(b, 1)),
    ),
    Mutant(
        "input bias dropped",
        "gru",
        "layer 1",
        "initializer l1/operator/B differs",
        weights("l1/operator/B", half_zero(0)),
    ),
    Mutant(
        "recurrent bias dropped",
        "lstm",
        "layer 2",
        "initializer l2/operator/B differs",
        weights("l2/operator/B", half_zero(1)),
    ),
    Mutant(
        "both biases dropped",
        "rnn",
        "layer 1",
        "l1/rnn (RNN) has the input 3 left out",
        read("l1/rnn", 3, ""),
        runtimes=BOTH,
    ),
    Mutant(
        "embedding rows swapped",
        "tokens",
        "input",
        "initializer embedding/table differs from the weights in 6 of 270",
        weights("embedding/table", lambda t: t[[*range(39), 40, 39, *range(41, 90)]]),
    ),
    Mutant(
        "weights of another epoch",
        "rnn-unrolled",
        "layer 0",
        "initializer l0/R differs from the weights in 16 of 16",
        emitted=emitted_from("layers.0.weight_hh_l0", lambda w: np.float32(1.01) * w),
    ),
]


CELLS = [
    Mutant(
        "GRU gates z and r",
        "gru",
        "layer 1",
        "initializer l1/operator/W differs",
        swapped_gates(1, (1, 0, 2)),
        runtimes=BOTH,
    ),
    Mutant(
        "LSTM gates o and f",
        "lstm",
        "layer 0",
        "initializer l0/operator/W differs",
        swapped_gates(0, (0, 2, 1, 3)),
        runtimes=BOTH,
    ),
    Mutant(
        "LSTM in torch's order",
        "lstm-chunk",
        "layer 2",
        "initializer l2/operator/W differs",
        swapped_gates(2, (0, 2, 3, 1)),
    ),
    Mutant(
        "RNN units in another order", "rnn", "layer 2", "initializer l2/operator/W differs", swapped_gates(2, (1, 0, 2))
    ),
    Mutant(
        "reset before the product",
        "gru",
        "layer 1",
        "l1/gru (GRU) has the attribute linear_before_reset 0, should be 1",
        attribute("l1/gru", linear_before_reset=0),
        runtimes=BOTH,
    ),
    Mutant(
        "reset after the product",
        "gru-before",
        "layer 2",
        "l2/gru (GRU) has the attribute linear_before_reset 1, should be 0",
        attribute("l2/gru", linear_before_reset=1),
        runtimes=BOTH,
    ),
    Mutant(
        "reset rewired",
        "gru-unrolled",
        "layer 1",
        "node l1/t000/kept (Mul) has the input 1 zeros_2_5, should be l1/t000/recalled",
        reset_before_the_product,
        runtimes=BOTH,
    ),
    Mutant(
        "sigmoid for tanh",
        "gru-unrolled",
        "layer 2",
        "node l2/t001/n (Sigmoid) should be Tanh",
        operator("l2/t001/n", "Sigmoid"),
        runtimes=BOTH,
    ),
    Mutant(
        "relu for tanh",
        "rnn",
        "layer 0",
        "l0/rnn (RNN) has the attribute activations ['Relu'], should be not there",
        attribute("l0/rnn", activations=["Relu"]),
        runtimes=BOTH,
    ),
    Mutant(
        "scaled tanh",
        "rnn",
        "layer 1",
        "l1/rnn (RNN) has the attribute activation_alpha",
        attribute("l1/rnn", activations=["ScaledTanh"], activation_alpha=[1.02], activation_beta=[1.0]),
    ),
    Mutant(
        "hard sigmoid",
        "lstm",
        "layer 1",
        "l1/lstm (LSTM) has the attribute activations ['HardSigmoid', 'Tanh', 'Tanh']",
        attribute("l1/lstm", activations=["HardSigmoid", "Tanh", "Tanh"]),
    ),
    Mutant(
        "alpha of a product",
        "lstm-unrolled",
        "layer 1",
        "node l1/t001/gates (Gemm) has the attribute alpha",
        attribute("l1/t001/gates", alpha=1.001),
        runtimes=BOTH,
    ),
    Mutant("clipped", "lstm", "layer 2", "l2/lstm (LSTM) has the attribute clip 0.5", attribute("l2/lstm", clip=0.5)),
    Mutant(
        "reversed",
        "gru-whole",
        "layer 1",
        "l1/gru (GRU) has the attribute direction reverse",
        attribute("l1/gru", direction="reverse"),
        runtimes=BOTH,
    ),
    Mutant(
        "initial state not zero",
        "gru-whole",
        "layer 0",
        "l0/gru (GRU) has the input 5 half, should be left out",
        both(
            constant("half", np.full((1, 2, 4), 0.5, np.float32)),
            lambda model: next(n for n in model.graph.node if n.name == "l0/gru").input.extend(["", "half"]),
        ),
        runtimes=BOTH,
    ),
    Mutant(
        "zeros that are not",
        "rnn-unrolled",
        "layer 0",
        "initializer zeros_2_4 differs from the weights in 8 of 8",
        weights("zeros_2_4", lambda zeros: zeros + np.float32(0.1)),
    ),
]
