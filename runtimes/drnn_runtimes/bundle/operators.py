"""The operators that a bundle's graphs may hold: without bodies, and with work that the sizes of tensors bound.

The emitter uses twenty of them. The others are those of ONNX's operators that compute each output from a few inputs, or
move values: a graph that was changed with them is compared like any other, and is found to be wrong or right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

Shape = tuple[int, ...]

RECURRENT = {"RNN": 1, "GRU": 3, "LSTM": 4}  # operator -> gates
_REDUCING = """ArgMax ArgMin ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
    ReduceSum ReduceSumSquare"""
_BY_VALUE = """Abs Add And Cast Ceil Clip Cos DequantizeLinear Div
    DynamicQuantizeLinear Elu Equal Erf Exp Floor Greater GreaterOrEqual
    HardSigmoid Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log LogSoftmax Max Mean Min Mod Mul Neg Not Or Pow PRelu
    QuantizeLinear Reciprocal Relu Round Selu Sigmoid Sign Sin Softmax Softplus Softsign Sqrt Sub Sum Tan Tanh
    ThresholdedRelu Where Xor"""
_MOVING = """Concat Constant CumSum Dropout Expand Flatten Gather GatherElements OneHot Pad Reshape ScatterElements
    ScatterND Slice Split Squeeze Transpose Unsqueeze"""
_INTEGER = {"MatMulInteger": 1, "QLinearMatMul": 3}  # operator -> which input is the right matrix
PRODUCTS = frozenset({"MatMul", "Gemm", *_INTEGER, *RECURRENT})
REDUCTIONS = frozenset(_REDUCING.split())
_PLAIN = frozenset((*PRODUCTS, *REDUCTIONS, *_BY_VALUE.split(), *_MOVING.split()))


def is_plain(operator: str) -> bool:
    """Whether an operator has no body, and takes what the sizes of its inputs and outputs say."""
    return operator in _PLAIN


def products_of(node: onnx.NodeProto, shapes: Sequence[Shape]) -> int | None:
    """Count the multiplications of a node of `PRODUCTS`.

    Args:
        node: The node.
        shapes: Of its inputs; () for one that is left out.

    Returns:
        Their number; None where the inputs do not fit together.
    """
    if node.op_type in RECURRENT:
        return _recurrent(node, RECURRENT[node.op_type], shapes)
    left, right = shapes[0], shapes[_INTEGER.get(node.op_type, 1)]
    if node.op_type == "Gemm":
        flags = {attribute.name: attribute.i for attribute in node.attribute}
        rows, inner = left[::-1] if flags.get("transA") else left
        other, columns = right[::-1] if flags.get("transB") else right
        return rows * inner * columns if inner == other else None
    return _matmul(left, right)


def _matmul(left: Shape, right: Shape) -> int:
    """The shapes broadcast: ONNX's inference has seen to that. Each side counts with all of its batches."""
    batches = 1
    for index in range(3, max(len(left), len(right)) + 1):
        batches *= max(left[-index] if index <= len(left) else 1, right[-index] if index <= len(right) else 1)
    rows, columns = left[-2] if len(left) > 1 else 1, right[-1] if len(right) > 1 else 1
    return batches * rows * left[-1] * columns


def _recurrent(node: onnx.NodeProto, gates: int, shapes: Sequence[Shape]) -> int | None:
    """The sizes of every input, as the operator's documentation has them; a builder reads weights by them."""
    x, w, r, b, lengths, *states = [*shapes, *[()] * 8][:8]
    if len(x) != 3 or len(w) != 3 or len(r) != 3:
        return None
    steps, batch, features = x
    directions, hidden = w[0], r[2]
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if "layout" in attributes and attributes["layout"].i:
        return None
    said = attributes["hidden_size"].i if "hidden_size" in attributes else hidden
    both = "direction" in attributes and attributes["direction"].s == b"bidirectional"
    rows = gates * hidden
    allowed = [
        {(directions, 2 * rows), ()},
        {(batch,), ()},
        *[{(directions, batch, hidden), ()}] * 2,
        {(directions, 3 * hidden), ()},
    ]
    fits = (
        min(x) > 0  # ONNX Runtime ends the process over none
        and (directions, said) == (2 if both else 1, hidden)
        and w == (directions, rows, features)
        and r == (directions, rows, hidden)
        and all(shape in known for shape, known in zip((b, lengths, *states), allowed, strict=True))
    )
    return steps * batch * directions * rows * (features + hidden) if fits else None
