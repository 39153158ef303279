"""Mutants of inputs, outputs and precisions: what is wrong, in which part, and what the verdict must say of it."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from tests.drnn_deploy.debug.mutants.mutant import (
    BOTH,
    Mutant,
    before,
    both,
    emitted_in,
    last_two_outputs_in_another_order,
    output_in_half,
    outputs_renamed,
    ten_bits,
    through,
    weights,
)

EDGES = [
    Mutant(
        "output renamed",
        "gru",
        "edges",
        "output 'output' is missing; in its place is 'result'",
        outputs_renamed("output", "result"),
        runtimes=BOTH,
    ),
    Mutant(
        "state renamed",
        "gru-step",
        "edges",
        "output 'next_state_l1_h' is missing; in its place is 'h_n'",
        outputs_renamed("next_state_l1_h", "h_n"),
    ),
    Mutant(
        "states in another order",
        "lstm-chunk",
        "edges",
        "output 'next_state_l2_c' is out of order",
        last_two_outputs_in_another_order,
        runtimes=BOTH,
    ),
    Mutant(
        "output in float16",
        "gru",
        "edges",
        "output 'output' is float16, should be float32",
        output_in_half,
        runtimes=BOTH,
    ),
    Mutant(
        "one class less",
        "gru",
        "edges",
        "output 'output' has the shape [2, 2], should be [2, 3]",
        both(
            weights("head/W", lambda w: w[:2]),
            weights("head/B", lambda b: b[:2]),
            lambda model: setattr(model.graph.output[0].type.tensor_type.shape.dim[1], "dim_value", 2),
        ),
    ),
]

PRECISIONS = [
    Mutant(
        "activations through float16",
        "gru",
        "layer 1",
        "node l1/select/mutated/narrow (Cast to float16) should not be there",
        before("l1/gru", 0, through(TensorProto.FLOAT16)),
        runtimes=BOTH,
    ),
    Mutant(
        "weights through float16",
        "lstm",
        "layer 2",
        "node l2/operator/W/mutated/narrow (Cast to float16) should not be there",
        before("l2/lstm", 1, through(TensorProto.FLOAT16)),
    ),
    Mutant(
        "weights rounded to float16",
        "rnn",
        "layer 0",
        "initializer l0/operator/R differs from the weights in",
        weights("l0/operator/R", lambda w: w.astype(np.float16).astype(np.float32)),
    ),
    Mutant(
        "products of TF32",
        "gru-unrolled",
        "layer 2",
        "node l2/fold/mutated/scaled (Mul) should not be there",
        before("l2/input_zr", 0, ten_bits, split_at=np.float32(2**13 + 1)),
        runtimes=BOTH,
    ),
    Mutant(
        "all in float16",
        "lstm",
        "layer 0",
        "the graph computes in float16, the manifest says fp32",
        emitted=emitted_in("fp16"),
    ),
    Mutant(
        "all in int8 weights",
        "rnn-unrolled",
        "layer 0",
        "the graph computes in int8, the manifest says fp32",
        emitted=emitted_in("int8"),
    ),
]
