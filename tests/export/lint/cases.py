"""The graphs that the lint is held against, by what TensorRT-RTX 1.7.1 does with them."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.export.lint import graphs, wiring_cases
from tests.export.lint.graphs import BOOL, FLOAT, INT64, model, one, recurrent

DOUBLE, INT8, UINT8, INT4 = TensorProto.DOUBLE, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4
HALF, BF16, INT32, UINT16 = TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT32, TensorProto.UINT16
AXIS = {"a": np.array([0])}
IMAGE = (FLOAT, [1, 1, 4, 4])
DYNAMIC = {"a": (INT64, [1])}

# Graphs that TensorRT-RTX takes.
TAKEN: dict[str, onnx.ModelProto] = {
    **{
        f"{cell} {way}": recurrent(cell, direction=way)
        for cell in ("RNN", "GRU", "LSTM")
        for way in ("forward", "reverse", "bidirectional")
    },
    **{f"{cell}, clip": recurrent(cell, clip=1.0) for cell in ("RNN", "GRU")},
    **{f"{cell}, sequence_lens": recurrent(cell, extra=["", "lengths"]) for cell in ("RNN", "GRU", "LSTM")},
    **{f"RNN, {name}": recurrent("RNN", activations=[name]) for name in ("Relu", "Softsign", "HardSigmoid", "Elu")},
    "GRU, linear_before_reset": recurrent("GRU", linear_before_reset=1),
    "LSTM, peepholes": recurrent("LSTM", extra=["", "", "", "", "P"]),
    "LSTM, one row": recurrent("LSTM", batch=1),
    "IR version 99": one("Tanh", ir=99),
    **{f"opset {opset}": one("Tanh", opset=opset) for opset in (8, 9, 24, 27)},
    **{
        f"Neg of {TensorProto.DataType.Name(kind)}": one("Neg", kind=(kind, [3]))
        for kind in (FLOAT, HALF, BF16, INT8, INT32, INT64)
    },
    "Identity of UINT8": one("Identity", kind=(UINT8, [3])),
    "Equal of UINT8": one("Equal", inputs={"z": (UINT8, [3])}, kind=(UINT8, [3]), made=BOOL),
    "UINT8 in": model([helper.make_node("Cast", ["x"], ["y"], to=FLOAT)], {"x": (UINT8, [3])}),
    "UINT8 out": graphs.chain(UINT8),
    "INT32 in the middle": graphs.chain(INT32, FLOAT),
    **{
        f"weights of {name}": graphs.cast_from(np.ones(3, name))
        for name in ("uint8", "int32", "int64", "bool", "float16")
    },
    "weights in a file": graphs.stored("w.bin"),
    "weights in a file, by a detour": graphs.stored("sub/../w.bin"),
    "ReduceSum": one("ReduceSum", AXIS),
    "ReduceSum, axes cast": model(
        [
            helper.make_node("Cast", ["a"], ["b"], to=INT32),
            helper.make_node("Cast", ["b"], ["c"], to=INT64),
            helper.make_node("ReduceSum", ["x", "c"], ["y"]),
        ],
        constants=AXIS,
    ),
    "Unsqueeze": one("Unsqueeze", AXIS),
    "Resize, cubic": graphs.resize(mode="cubic"),
    "TopK of 3840": one("TopK", {"k": np.array([3840])}, (FLOAT, [5000]), outputs=["y", "i"]),
    "TopK, not sorted": one("TopK", {"k": np.array([2])}, (FLOAT, [9]), outputs=["y", "i"], sorted=0),
    "Mod of INT32": one("Mod", {"m": np.array([2, 3, 4], np.int32)}, (INT32, [3])),
    "Mod, fmod": one("Mod", {"m": graphs.weights(3)}, (FLOAT, [3]), fmod=1),
    "Einsum": one("Einsum", equation="ij->ji"),
    "Dropout, not training": one("Dropout", {"ratio": np.array(0.5, np.float32), "training": np.array(False)}),
    "Range of constants": model(
        [helper.make_node("Range", ["a", "b", "c"], ["y"])],
        {},
        constants={name: np.array(value, np.float32) for name, value in (("a", 0), ("b", 3), ("c", 1))},
    ),
    "MaxPool": one("MaxPool", kind=IMAGE, kernel_shape=[2, 2]),
    "MaxPool, one axis": one("MaxPool", kind=(FLOAT, [1, 1, 8]), kernel_shape=[2]),
    "If": graphs.conditional("Tanh", "Sigmoid"),
    "If, the other branch never taken": graphs.conditional("Tanh", "Det", np.array(True)),
    "Loop": graphs.loop(condition=True, reads=True),
    "Scan": graphs.scan("Tanh"),
    "function": graphs.called("Tanh"),
    "not in order": model([helper.make_node("Tanh", ["z"], ["y"]), helper.make_node("Sin", ["x"], ["z"])]),
    "eight axes": one("Tanh", kind=(FLOAT, [1] * 8)),
    "no elements": one("Tanh", kind=(FLOAT, [0, 3])),
    "quantised to INT8": graphs.quantised(np.array(0, np.int8)),
    "GridSample of a volume": one(
        "GridSample", {"g": graphs.weights(1, 2, 2, 2, 3)}, (FLOAT, [1, 1, 4, 4, 4]), opset=20, mode="linear"
    ),
    **wiring_cases.TAKEN,
}

# Graphs that its parser refuses.
REFUSED: dict[str, onnx.ModelProto] = {
    **{f"operator {name}": one(name) for name in ("Det", "Bernoulli", "Compress", "NonZero", "Foo")},
    "operator of another domain": one("Foo", domain="mine"),
    "operator whose result nobody uses": model(
        [helper.make_node("Det", ["x"], ["z"]), helper.make_node("Tanh", ["x"], ["y"])]
    ),
    **{f"RNN, {name}": recurrent("RNN", activations=[name]) for name in ("Affine", "tanh", "Gelu")},
    "GRU, too few activations": recurrent("GRU", activations=["Sigmoid"]),
    "LSTM, unequal directions": recurrent(
        "LSTM", direction="bidirectional", activations=["Sigmoid", "Tanh", "Tanh", "Sigmoid", "Tanh", "Relu"]
    ),
    "LSTM, input_forget": recurrent("LSTM", input_forget=1),
    **{
        f"Tanh of {TensorProto.DataType.Name(kind)}": one("Tanh", kind=(kind, [3]))
        for kind in (UINT8, INT32, INT64, BOOL, UINT16, TensorProto.STRING, TensorProto.FLOAT8E5M2)
    },
    "Neg of BOOL": one("Neg", kind=(BOOL, [3])),
    "Celu of FLOAT16": one("Celu", kind=(HALF, [3])),
    "Cast to INT16": graphs.chain(TensorProto.INT16, FLOAT),
    "UINT8 in the middle": graphs.chain(UINT8, FLOAT),
    **{
        f"weights of {name}": graphs.cast_from(np.ones(3, name))
        for name in ("int16", "uint16", "uint32", "uint64", "complex64")
    },
    "weights of strings, not used": model(
        [helper.make_node("Tanh", ["x"], ["y"])],
        constants={"c": helper.make_tensor("c", TensorProto.STRING, [1], [b"a"])},
    ),
    "Constant of strings": model(
        [helper.make_node("Constant", [], ["c"], value_strings=[b"a"]), helper.make_node("Tanh", ["x"], ["y"])]
    ),
    "sparse weights": graphs.sparse(),
    "weights cut short": graphs.damaged(graphs.weights(3).tobytes()[:8]),
    "weights too long": graphs.damaged(graphs.weights(3).tobytes() + bytes(4)),
    "weights in no file": graphs.stored("missing.bin"),
    "weights in a file cut short": graphs.stored("w.bin", offset=8),
    "weights in a file above": graphs.stored("../w.bin"),
    "weights in a file above, by a detour": graphs.stored("sub/../../w.bin"),
    "weights at an absolute place": graphs.stored("/nowhere/w.bin"),
    "weights at a place on a drive": graphs.stored("C:w.bin"),
    "weights of nine axes": graphs.cast_from(np.ones([1] * 9, np.float32)),
    "weights at a negative offset": graphs.stored("w.bin", offset=-4),
    "weights of another length": graphs.stored("w.bin", length=8),
    "ReduceSum, free axes": one("ReduceSum", inputs=DYNAMIC),
    "ReduceSum, computed axes": model(
        [helper.make_node("Add", ["a", "a"], ["b"]), helper.make_node("ReduceSum", ["x", "b"], ["y"])], constants=AXIS
    ),
    "ReduceSum, axes from a shape": model(
        [
            helper.make_node("Shape", ["x"], ["s"], end=1),
            helper.make_node("Sub", ["s", "t"], ["a"]),
            helper.make_node("ReduceSum", ["x", "a"], ["y"]),
        ],
        constants={"t": np.array([3])},
    ),
    "Unsqueeze, free axes": one("Unsqueeze", inputs=DYNAMIC),
    "EyeLike, free axis": one("EyeLike", kind=(FLOAT, ["n", 3])),
    "Resize, antialias": graphs.resize(mode="linear", antialias=1, opset=18),
    "Resize, half_pixel_symmetric": graphs.resize(
        mode="linear", coordinate_transformation_mode="half_pixel_symmetric", opset=19
    ),
    "ScatterND, add": one("ScatterND", {"i": np.array([[0]]), "u": graphs.weights(1, 3)}, reduction="add", opset=18),
    "LpPool of order 3": one("LpPool", kind=IMAGE, kernel_shape=[2, 2], p=3),
    "MaxPool, dilated": one("MaxPool", kind=IMAGE, kernel_shape=[2, 2], dilations=[2, 2]),
    "MaxPool, indices": one("MaxPool", kind=IMAGE, kernel_shape=[2, 2], outputs=["y", "i"]),
    "LayerNormalization, mean": one("LayerNormalization", {"s": graphs.weights(3)}, outputs=["y", "m"]),
    "BatchNormalization, training": one(
        "BatchNormalization",
        {name: np.ones(3, np.float32) for name in "sbmv"},
        training_mode=1,
        outputs=["y", "m2", "v2"],
    ),
    "Mod of FLOAT": one("Mod", {"m": graphs.weights(3)}, (FLOAT, [3])),
    "Einsum, capitals": one("Einsum", equation="AB->BA"),
    "Dropout, training": one("Dropout", {"ratio": np.array(0.5, np.float32), "training": np.array(True)}),
    "Range of an input": model(
        [helper.make_node("Range", ["a", "x", "c"], ["y"])],
        {"x": (FLOAT, [])},
        constants={"a": np.array(0, np.float32), "c": np.array(1, np.float32)},
    ),
    "zero point that is not zero": graphs.quantised(np.array(3, np.int8)),
    **{f"{name} of one axis": one(name, kind=(FLOAT, [3])) for name in ("Softmax", "LogSoftmax", "Hardmax")},
    "ArgMax of one axis": one("ArgMax", kind=(FLOAT, [3]), made=INT64),
    "LRN of three axes": one("LRN", kind=(FLOAT, [1, 2, 4]), size=3),
    "Expand to a negative size": one("Expand", {"s": np.array([-2, 3, 3])}),
    "Squeeze, an axis twice": one("Squeeze", {"a": np.array([0, 0])}, (FLOAT, [1, 3])),
    "Gelu, approximate in capitals": one("Gelu", approximate="TANH", opset=20),
    "DepthToSpace, half a block": one("DepthToSpace", kind=(FLOAT, [1, 3, 4, 4]), blocksize=2),
    "Split, an axis that is too short": one(
        "Split", kind=(FLOAT, [1]), num_outputs=3, outputs=["y", "b", "c"], opset=18
    ),
    "Reshape to more elements": one("Reshape", {"s": np.array([4, 4])}),
    "vector times a stack": one("MatMul", {"m": graphs.weights(2, 3, 4)}, (FLOAT, [3])),
    "Conv, bias of another size": one(
        "Conv", {"w": graphs.weights(2, 1, 1, 1), "b": graphs.weights(3)}, IMAGE, kernel_shape=[1, 1]
    ),
    "Conv, pads beside auto_pad": one(
        "Conv", {"w": graphs.weights(1, 1, 1, 1)}, IMAGE, auto_pad="SAME_UPPER", pads=[0, 0, 0, 0]
    ),
    "QuantizeLinear, scales of another axis": one(
        "QuantizeLinear", {"s": np.ones(2, np.float32), "z": np.zeros(2, np.int8)}, made=INT8, axis=0
    ),
    "If, a branch with Det": graphs.conditional("Tanh", "Det"),
    "Loop, no condition but read": graphs.loop(condition=False, reads=True),
    "Scan, a body with Det": graphs.scan("Det"),
    "function with Det": graphs.called("Det"),
    "function that calls itself": graphs.called("", recursive=True),
    "nine axes": one("Tanh", kind=(FLOAT, [1] * 9)),
    "input that nothing makes": model([helper.make_node("Add", ["x", "nothing"], ["y"])]),
    "output that nothing makes": model([helper.make_node("Tanh", ["x"], ["z"])]),
    "two nodes make one tensor": model([helper.make_node("Tanh", ["x"], ["y"]), helper.make_node("Sin", ["x"], ["y"])]),
    **wiring_cases.REFUSED,
}

# Graphs that its parser takes and its compiler, which comes after it, does not.
NOT_COMPILED: dict[str, onnx.ModelProto] = {
    "Tanh of INT8": one("Tanh", kind=(INT8, [3])),
    "Tanh of INT4": one("Tanh", kind=(INT4, [4])),
    "Cast to FLOAT8E4M3FN": graphs.chain(TensorProto.FLOAT8E4M3FN),
    "weights of INT8 that are cast": graphs.cast_from(np.ones(3, np.int8)),
    "TopK of 4000": one("TopK", {"k": np.array([4000])}, (FLOAT, [5000]), outputs=["y", "i"]),
    "ReverseSequence, lengths of another batch": one(
        "ReverseSequence", {"l": np.array([1, 2])}, batch_axis=0, time_axis=1
    ),
    "CumSum along an axis that is not there": one("CumSum", {"a": np.array(2)}),
    "InstanceNormalization of one element": one(
        "InstanceNormalization", {"s": graphs.weights(3), "b": graphs.weights(3)}, (FLOAT, [2, 3, 1])
    ),
    "Attention of FLOAT": one(
        "Attention", {name: graphs.weights(2, 2, 4, 16) for name in "kv"}, (FLOAT, [2, 2, 4, 16]), opset=23
    ),
    "If, branches of unequal rank": graphs.unequal_branches(),
    "NonMaxSuppression": model(
        [helper.make_node("NonMaxSuppression", ["x", "s"], ["y"])],
        {"x": (FLOAT, [1, 4, 4]), "s": (FLOAT, [1, 1, 4])},
        {"y": (INT64, None)},
    ),
}

# Graphs that it takes in silence and computes as something else; `test_what_the_parser_misreads` shows what.
MISTAKEN: dict[str, tuple[str, onnx.ModelProto]] = {
    **{f"{cell}, batch first": ("layout", recurrent(cell, layout=1)) for cell in ("RNN", "GRU", "LSTM")},
    "Trilu without upper": ("attribute-value", one("Trilu")),
    "ReduceMax, keepdims 2": ("attribute-value", one("ReduceMax", keepdims=2)),
    "an empty sequence": ("empty-sequence", graphs.lasting(0)),
    "a sum of nothing": ("empty-reduction", one("ReduceSum", kind=(FLOAT, [0, 2]))),
    "LSTM, clip": ("clip", recurrent("LSTM", clip=1.0)),
    **{
        f"RNN, {name} without its parameters": ("activation-value", recurrent("RNN", activations=[name]))
        for name in ("ScaledTanh", "Softplus", "ThresholdedRelu")
    },
    "Slice backwards to the largest number": (
        "slice-end",
        one("Slice", {"s": np.array([2]), "e": np.array([2**63 - 1]), "a": np.array([0]), "t": np.array([-1])}),
    ),
    "Pad that wraps and cuts": ("pad-wrap", one("Pad", {"p": np.array([1, 0, -1, 0])}, mode="wrap", opset=19)),
    "float64 input": ("float64", one("Tanh", kind=(DOUBLE, [3]))),
    "float64 weights": ("float64", graphs.cast_from(np.ones(3))),
    "float64 by Cast": ("float64", graphs.wide_node("Cast", to=DOUBLE)),
    "float64 by Constant": ("float64", graphs.wide_node("Constant", value=numpy_helper.from_array(np.ones(3)))),
    "Tanh of another domain": ("domain", one("Tanh", domain="mine")),
    "Gelu of another domain": ("domain", one("Gelu", domain="com.microsoft")),
    "quantised to UINT8": ("uint8-quantisation", graphs.quantised(np.array(0, np.uint8))),
    "quantised without a zero point": ("uint8-quantisation", graphs.quantised(None)),
}
