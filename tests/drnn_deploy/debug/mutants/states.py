"""Mutants of states: what is wrong, in which part, and what the verdict must say of it."""

from __future__ import annotations

import numpy as np
from onnx import helper

from tests.drnn_deploy.debug.mutants.mutant import (
    BOTH,
    Mutant,
    both,
    constant,
    outputs_swapped,
    read,
    replaced,
    weights,
)

_made = helper.make_node

STATES = [
    Mutant(
        "h not carried on",
        "gru-step",
        "layer 1",
        "next_state_l1_h is not carried on: it is state_l1_h, unchanged",
        replaced("l1/line_h", _made("Identity", ["state_l1_h"], ["next_state_l1_h"], "l1/line_h")),
        runtimes=BOTH,
    ),
    Mutant(
        "c zeroed",
        "lstm-chunk",
        "layer 1",
        "next_state_l1_c is all zeros",
        replaced("next_state_l1_c", _made("Sub", ["state_l1_c", "state_l1_c"], ["next_state_l1_c"], "next_state_l1_c")),
        runtimes=BOTH,
    ),
    Mutant(
        "c dropped",
        "lstm-chunk",
        "layer 0",
        "l0/lstm (LSTM) has the input 6 left out",
        read("l0/lstm", 6, ""),
        runtimes=BOTH,
    ),
    Mutant(
        "rows newest first",
        "gru-step",
        "layer 2",
        "next_state_l2_h has its rows in the reverse order",
        both(
            constant("newest", np.array([3, 2, 1, 0])),
            lambda model: next(n for n in model.graph.node if n.name == "l2/line_h").output.__setitem__(
                0, "l2/oldest_first"
            ),
            lambda model: model.graph.node.append(
                _made("Gather", ["l2/oldest_first", "newest"], ["next_state_l2_h"], "l2/newest_first", axis=1)
            ),
        ),
    ),
    Mutant(
        "h and c swapped",
        "lstm-chunk",
        "layer 0",
        "next_state_l0_h holds what next_state_l0_c should",
        outputs_swapped("next_state_l0_h", "next_state_l0_c"),
        runtimes=BOTH,
    ),
    Mutant(
        "batch and rows of a state mixed up",
        "lstm-chunk",
        "layer 1",
        "node next_state_l1_h (Reshape) should be Transpose",
        both(
            constant("mixed", np.array([2, 2, 5])),
            replaced("next_state_l1_h", _made("Reshape", ["l1/last", "mixed"], ["next_state_l1_h"], "next_state_l1_h")),
        ),
    ),
    Mutant(
        "the oldest row kept",
        "gru-step",
        "layer 2",
        "node l2/kept_h (Slice) has the input 1 index_0, should be index_1",
        both(read("l2/kept_h", 1, "index_0"), read("l2/kept_h", 2, "index_3"), constant("index_3", np.array([3]))),
    ),
    Mutant(
        "the newest row read",
        "gru-step",
        "layer 1",
        "node l1/oldest_h (Slice) has the input 1 index_1, should be index_0",
        both(read("l1/oldest_h", 1, "index_1"), read("l1/oldest_h", 2, "index_2")),
        runtimes=BOTH,
    ),
    Mutant(
        "rest on the newest rows",
        "lstm-chunk",
        "layer 2",
        "node l2/oldest_h (Slice) has the input 1 index_2, should be index_0",
        both(read("l2/oldest_h", 1, "index_2"), read("l2/oldest_h", 2, "index_4")),
    ),
    Mutant(
        "window's memory not carried on",
        "fusion-chunk",
        "fusion",
        "next_state_fusion is not carried on",
        replaced(
            "fusion/batch_first", _made("Identity", ["state_fusion"], ["next_state_fusion"], "fusion/batch_first")
        ),
    ),
    Mutant(
        "delay one row short",
        "gru-skewed",
        "layer 2",
        "initializer skew/below/indices is [0, 1], should be [0, 2]",
        weights("skew/below/indices", lambda rows: rows - np.array([0, 1])),
        runtimes=BOTH,
    ),
    Mutant(
        "skewed layers not held back",
        "lstm-skewed",
        "layer 1",
        "node skew/new_h (Identity) should be Mul",
        replaced("skew/new_h", _made("Identity", ["skew/h"], ["skew/new_h"], "skew/new_h")),
    ),
    Mutant(
        "skewed oldest row",
        "lstm-skewed",
        "layer 2",
        "initializer skew/oldest_c/indices is [0, 1, 4], should be [0, 1, 3]",
        weights("skew/oldest_c/indices", lambda rows: rows + np.array([0, 0, 1])),
    ),
    Mutant(
        "skewed line not shifted",
        "gru-skewed",
        "layer 2",
        "initializer skew/lines_h/indices is",
        weights("skew/lines_h/indices", lambda rows: np.array([*rows[:3], 3, 4, 5, rows[6]])),
    ),
]
