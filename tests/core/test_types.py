"""The table of precisions against what NumPy, ONNX and the bundle's schema say of the same types."""

from __future__ import annotations

from typing import get_args

import ml_dtypes
import numpy as np
import onnx
import pytest

from drnn_core.types import PRECISIONS, Emission, Precision
from drnn_runtimes.bundle import manifest_schema


def test_every_precision_has_a_row_and_a_place_in_the_manifest() -> None:
    listed = manifest_schema()["$defs"]["graph"]["properties"]["precision"]["enum"]
    assert list(PRECISIONS) == list(get_args(Precision)) == listed


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_precision_is_of_one_type(precision: Precision) -> None:
    info = PRECISIONS[precision]
    number = onnx.TensorProto.DataType.Value(info.onnx)
    assert onnx.helper.tensor_dtype_to_np_dtype(number) == info.numpy
    products = np.dtype(np.float32) if info.weights_only else info.numpy
    assert info.spacing == float(ml_dtypes.finfo(products).eps)
    assert info.largest == float(ml_dtypes.finfo(products).max)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_precision_has_a_graph_of_whole_sequences(precision: Precision) -> None:
    assert set(PRECISIONS[precision].refused) < set(get_args(Emission)) - {"unrolled"}
