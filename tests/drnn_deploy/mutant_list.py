"""The mutants: what is wrong, in which part, and what the verdict must say of it."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from tests.drnn_deploy.mutants import (
    HERE,
    THERE,
    Mutant,
    attribute,
    before,
    both,
    constant,
    emitted_from,
    emitted_in,
    emitted_with,
    flipped,
    half_zero,
    last_two_outputs_in_another_order,
    operator,
    output_in_half,
    outputs_renamed,
    outputs_swapped,
    read,
    replaced,
    reset_before_the_product,
    swapped_gates,
    ten_bits,
    through,
    weights,
)

BOTH = (HERE, THERE)
_made = helper.make_node
FLIPPED = "differs from the weights in 1 of"

WEIGHTS = [
    Mutant("first W", "gru", "layer 0", f"initializer l0/operator/W {FLIPPED} 24", weights("l0/operator/W", flipped)),
    Mutant("middle R", "lstm", "layer 1", f"initializer l1/operator/R {FLIPPED} 100", weights("l1/operator/R", flipped)),
    Mutant("last B", "gru-whole", "layer 2", f"initializer l2/operator/B {FLIPPED} 36", weights("l2/operator/B", flipped)),
    Mutant("unrolled R", "gru-unrolled", "layer 1", f"initializer l1/Rn {FLIPPED} 25", weights("l1/Rn", flipped)),
    Mutant("skewed W", "lstm-skewed", "layer 1", f"initializer skew/gates/W {FLIPPED} 864",
           weights("skew/gates/W", lambda w: np.stack([w[0], flipped(w[1].copy()), w[2]]))),
    Mutant("head W", "gru", "head", f"initializer head/W {FLIPPED} 18", weights("head/W", flipped)),
    Mutant("head bias", "lstm", "head", f"initializer head/B {FLIPPED} 3", weights("head/B", flipped)),
    Mutant("fusion W", "fusion", "head", f"initializer head/W {FLIPPED} 36", weights("head/W", flipped)),
    Mutant("classes in another order", "gru", "head", "initializer head/B differs from the weights in 3 of 3",
           weights("head/B", lambda b: np.roll(b, 1))),
    Mutant("input bias dropped", "gru", "layer 1", "initializer l1/operator/B differs", weights("l1/operator/B", half_zero(0))),
    Mutant("recurrent bias dropped", "lstm", "layer 2", "initializer l2/operator/B differs",
           weights("l2/operator/B", half_zero(1))),
    Mutant("both biases dropped", "rnn", "layer 1", "l1/rnn (RNN) has the input 3 left out", read("l1/rnn", 3, ""), runtimes=BOTH),
    Mutant("embedding rows swapped", "tokens", "input", "initializer embedding/table differs from the weights in 6 of 120",
           weights("embedding/table", lambda t: t[[*range(37), 38, 37, 39]])),
    Mutant("weights of another epoch", "rnn-unrolled", "layer 0", "initializer l0/R differs from the weights in 16 of 16",
           emitted=emitted_from("layers.0.weight_hh_l0", lambda w: np.float32(1.01) * w)),
]  # fmt: skip

CELLS = [
    Mutant("GRU gates z and r", "gru", "layer 1", "initializer l1/operator/W differs", swapped_gates(1, (1, 0, 2)), runtimes=BOTH),
    Mutant("LSTM gates o and f", "lstm", "layer 0", "initializer l0/operator/W differs", swapped_gates(0, (0, 2, 1, 3)), runtimes=BOTH),
    Mutant("LSTM in torch's order", "lstm-chunk", "layer 2", "initializer l2/operator/W differs", swapped_gates(2, (0, 2, 3, 1))),
    Mutant("RNN units in another order", "rnn", "layer 2", "initializer l2/operator/W differs", swapped_gates(2, (1, 0, 2))),
    Mutant("reset before the product", "gru", "layer 1", "l1/gru (GRU) has the attribute linear_before_reset 0, should be 1",
           attribute("l1/gru", linear_before_reset=0), runtimes=BOTH),
    Mutant("reset after the product", "gru-before", "layer 2",
           "l2/gru (GRU) has the attribute linear_before_reset 1, should be 0", attribute("l2/gru", linear_before_reset=1), runtimes=BOTH),
    Mutant("reset rewired", "gru-unrolled", "layer 1", "node l1/t000/kept (Mul) has the input 1 zeros_2_5, should be l1/t000/recalled",
           reset_before_the_product, runtimes=BOTH),
    Mutant("sigmoid for tanh", "gru-unrolled", "layer 2", "node l2/t001/n (Sigmoid) should be Tanh", operator("l2/t001/n", "Sigmoid"), runtimes=BOTH),
    Mutant("relu for tanh", "rnn", "layer 0", "l0/rnn (RNN) has the attribute activations ['Relu'], should be not there",
           attribute("l0/rnn", activations=["Relu"]), runtimes=BOTH),
    Mutant("scaled tanh", "rnn", "layer 1", "l1/rnn (RNN) has the attribute activation_alpha",
           attribute("l1/rnn", activations=["ScaledTanh"], activation_alpha=[1.02], activation_beta=[1.0])),
    Mutant("hard sigmoid", "lstm", "layer 1", "l1/lstm (LSTM) has the attribute activations ['HardSigmoid', 'Tanh', 'Tanh']",
           attribute("l1/lstm", activations=["HardSigmoid", "Tanh", "Tanh"])),
    Mutant("alpha of a product", "lstm-unrolled", "layer 1", "node l1/t001/gates (Gemm) has the attribute alpha",
           attribute("l1/t001/gates", alpha=1.001), runtimes=BOTH),
    Mutant("clipped", "lstm", "layer 2", "l2/lstm (LSTM) has the attribute clip 0.5", attribute("l2/lstm", clip=0.5)),
    Mutant("reversed", "gru-whole", "layer 1", "l1/gru (GRU) has the attribute direction reverse", attribute("l1/gru", direction="reverse"),
           runtimes=BOTH),
    Mutant("initial state not zero", "gru-whole", "layer 0", "l0/gru (GRU) has the input 4 ",
           both(constant("half", np.full((1, 2, 4), 0.5, np.float32)), lambda model: next(
               n for n in model.graph.node if n.name == "l0/gru").input.extend(["", "half"])), runtimes=BOTH),
    Mutant("zeros that are not", "rnn-unrolled", "layer 0", "initializer zeros_2_4 differs from the weights in 8 of 8",
           weights("zeros_2_4", lambda zeros: zeros + np.float32(0.1))),
]  # fmt: skip

LAYOUT = [
    Mutant("dilation 3 for 2", "gru-whole", "layer 1", "node l1/fold (Reshape) has the input 1 shape_8_6_4, should be shape_12_4_4",
           emitted=emitted_with(dilations=(1, 3, 4)), runtimes=BOTH),
    Mutant("dilation 3 for 4", "lstm", "layer 2", "node l2/fold (Reshape) has the input 1 shape_8_6_5, should be shape_6_8_5",
           emitted=emitted_with(dilations=(1, 2, 3))),
    Mutant("phases before steps", "gru-whole", "layer 2", "node l2/fold (Reshape) has the input 0",
           before("l2/fold", 0, lambda old, new: [
               _made("Reshape", [old, "phases"], [f"{new}/phases"], f"{new}/phases"),
               _made("Transpose", [f"{new}/phases"], [f"{new}/apart"], f"{new}/apart", perm=[1, 0, 2, 3]),
               _made("Reshape", [f"{new}/apart", "rows"], [new], new)],
               phases=np.array([4, 6, 2, 5]), rows=np.array([12, 1, 4, 5]))),
    Mutant("batch and steps mixed up", "gru", "input", "node time_major (Reshape) should be Transpose",
           both(constant("mixed", np.array([24, 2, 2])), replaced("time_major", _made("Reshape", ["input", "mixed"], ["time_major"], "time_major"))),
           runtimes=BOTH),
    Mutant("fold of batch and phases", "rnn", "layer 1", "node l1/fold (Transpose) should be Reshape",
           both(constant("apart", np.array([24, 2, 4])), replaced("l1/fold",
               _made("Reshape", ["l0/rnn", "apart"], ["l1/apart"], "l1/apart"),
               _made("Transpose", ["l1/apart"], ["l1/turned"], "l1/turned", perm=[1, 0, 2]),
               _made("Reshape", ["l1/turned", "shape_12_4_4"], ["l1/refolded"], "l1/refolded"),
               _made("Transpose", ["l1/refolded"], ["l1/fold"], "l1/fold", perm=[0, 1, 2])))),
    Mutant("selected one step early", "gru", "layer 1", "node l1/select (Slice) has the input 1 index_0, should be index_1",
           read("l1/select", 1, "index_0"), runtimes=BOTH),
    Mutant("padding in front", "gru-padded", "layer 1", "initializer l1/pad/pads is [1, 0, 0, 0, 0, 0], should be [0, 0, 0, 1, 0, 0]",
           weights("l1/pad/pads", lambda pads: np.roll(pads, 3)), runtimes=BOTH),
    Mutant("padding read", "gru-padded", "head", "node head/select (Slice) has the input 1 index_1, should be index_0",
           both(read("head/select", 1, "index_1"), read("head/select", 2, "index_24"), constant("index_24", np.array([24]))), runtimes=BOTH),
    Mutant("last k one early", "rnn", "head", "initializer index_20 is [19], should be [20]",
           both(weights("index_20", lambda x: x - 1), weights("index_24", lambda x: x - 1))),
    Mutant("window one early", "fusion", "head", "initializer head/window/indices", weights("head/window/indices", lambda x: x - 1)),
    Mutant("window newest first", "fusion", "head", "initializer head/window/indices is [[5, 4]]",
           weights("head/window/indices", lambda x: x[:, ::-1])),
    Mutant("one-hot one further", "one-hot", "input", "node one_hot (OneHot) has the input 0",
           before("one_hot", 0, lambda old, new: [
               _made("Add", [old, "one"], [f"{new}/more"], f"{new}/more"), _made("Mod", [f"{new}/more", "seven"], [new], new)],
               one=np.array(1), seven=np.array(7))),
]  # fmt: skip

STATES = [
    Mutant("h not carried on", "gru-step", "layer 1", "next_state_l1_h is not carried on: it is state_l1_h, unchanged",
           replaced("l1/line_h", _made("Identity", ["state_l1_h"], ["next_state_l1_h"], "l1/line_h")), runtimes=BOTH),
    Mutant("c zeroed", "lstm-chunk", "layer 1", "next_state_l1_c is all zeros",
           replaced("next_state_l1_c", _made("Sub", ["state_l1_c", "state_l1_c"], ["next_state_l1_c"], "next_state_l1_c")), runtimes=BOTH),
    Mutant("c dropped", "lstm-chunk", "layer 0", "l0/lstm (LSTM) has the input 6 left out", read("l0/lstm", 6, ""), runtimes=BOTH),
    Mutant("rows newest first", "gru-step", "layer 2", "next_state_l2_h has its rows in the reverse order",
           both(constant("newest", np.array([3, 2, 1, 0])), lambda model: next(
               n for n in model.graph.node if n.name == "l2/line_h").output.__setitem__(0, "l2/oldest_first"),
               lambda model: model.graph.node.append(
                   _made("Gather", ["l2/oldest_first", "newest"], ["next_state_l2_h"], "l2/newest_first", axis=1)))),
    Mutant("h and c swapped", "lstm-chunk", "layer 0", "next_state_l0_h holds what next_state_l0_c should",
           outputs_swapped("next_state_l0_h", "next_state_l0_c"), runtimes=BOTH),
    Mutant("batch and rows of a state mixed up", "lstm-chunk", "layer 1", "node next_state_l1_h (Reshape) should be Transpose",
           both(constant("mixed", np.array([2, 2, 5])), replaced("next_state_l1_h", _made("Reshape", ["l1/last", "mixed"], ["next_state_l1_h"], "next_state_l1_h")))),
    Mutant("the oldest row kept", "gru-step", "layer 2", "node l2/kept_h (Slice) has the input 1 index_0, should be index_1",
           both(read("l2/kept_h", 1, "index_0"), read("l2/kept_h", 2, "index_3"), constant("index_3", np.array([3])))),
    Mutant("the newest row read", "gru-step", "layer 1", "node l1/oldest_h (Slice) has the input 1 index_1, should be index_0",
           both(read("l1/oldest_h", 1, "index_1"), read("l1/oldest_h", 2, "index_2")), runtimes=BOTH),
    Mutant("rest on the newest rows", "lstm-chunk", "layer 2", "node l2/oldest_h (Slice) has the input 1 index_2, should be index_0",
           both(read("l2/oldest_h", 1, "index_2"), read("l2/oldest_h", 2, "index_4"))),
    Mutant("window's memory not carried on", "fusion-chunk", "fusion", "next_state_fusion is not carried on",
           replaced("fusion/batch_first", _made("Identity", ["state_fusion"], ["next_state_fusion"], "fusion/batch_first"))),
    Mutant("delay one row short", "gru-skewed", "layer 2", "initializer skew/below/indices is [0, 1], should be [0, 2]",
           weights("skew/below/indices", lambda rows: rows - np.array([0, 1])), runtimes=BOTH),
    Mutant("skewed layers not held back", "lstm-skewed", "layer 1", "node skew/new_h (Identity) should be Mul",
           replaced("skew/new_h", _made("Identity", ["skew/h"], ["skew/new_h"], "skew/new_h"))),
    Mutant("skewed oldest row", "lstm-skewed", "layer 2", "initializer skew/oldest_c/indices is [0, 1, 4], should be [0, 1, 3]",
           weights("skew/oldest_c/indices", lambda rows: rows + np.array([0, 0, 1]))),
    Mutant("skewed line not shifted", "gru-skewed", "layer 2", "initializer skew/lines_h/indices is",
           weights("skew/lines_h/indices", lambda rows: np.array([*rows[:3], 3, 4, 5, rows[6]]))),
]  # fmt: skip

EDGES = [
    Mutant("output renamed", "gru", "edges", "output 'output' is missing; in its place is 'result'", outputs_renamed("output", "result"), runtimes=BOTH),
    Mutant("state renamed", "gru-step", "edges", "output 'next_state_l1_h' is missing; in its place is 'h_n'",
           outputs_renamed("next_state_l1_h", "h_n")),
    Mutant("states in another order", "lstm-chunk", "edges", "output 'next_state_l2_c' is out of order", last_two_outputs_in_another_order,
           runtimes=BOTH),
    Mutant("output in float16", "gru", "edges", "output 'output' is float16, should be float32", output_in_half, runtimes=BOTH),
    Mutant("one class less", "gru", "edges", "output 'output' has the shape [2, 2], should be [2, 3]", both(
        weights("head/W", lambda w: w[:2]), weights("head/B", lambda b: b[:2]),
        lambda model: setattr(model.graph.output[0].type.tensor_type.shape.dim[1], "dim_value", 2))),
]  # fmt: skip

PRECISIONS = [
    Mutant("activations through float16", "gru", "layer 1", "node l1/select/mutated/narrow (Cast) should not be there",
           before("l1/gru", 0, through(TensorProto.FLOAT16)), runtimes=BOTH),
    Mutant("weights through float16", "lstm", "layer 2", "node l2/operator/W/mutated/narrow (Cast) should not be there",
           before("l2/lstm", 1, through(TensorProto.FLOAT16))),
    Mutant("weights rounded to float16", "rnn", "layer 0", "initializer l0/operator/R differs from the weights in",
           weights("l0/operator/R", lambda w: w.astype(np.float16).astype(np.float32))),
    Mutant("products of TF32", "gru-unrolled", "layer 2", "node l2/fold/mutated/scaled (Mul) should not be there",
           before("l2/input_zr", 0, ten_bits, split_at=np.float32(2**13 + 1)), runtimes=BOTH),
    Mutant("all in float16", "lstm", "layer 0", "l0/lstm (LSTM) has the input", emitted=emitted_in("fp16")),
    Mutant("all in int8 weights", "rnn-unrolled", "layer 0", "has the input 1 l0/input/W/dequantised, should be l0/input/W", emitted=emitted_in("int8")),
]  # fmt: skip

MUTANTS = [*WEIGHTS, *CELLS, *LAYOUT, *STATES, *EDGES, *PRECISIONS]
