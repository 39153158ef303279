"""ONNX's own examples as drafts: at least one for each use of each operator that TensorRT's parser knows.

Run as a script it writes them to a file: collecting them computes them all, prints and warns.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tests.export.lint.drafts import Draft

_MOST = 20_000  # elements of an input


def examples(folder: Path) -> list[Draft]:
    """The drafts, by way of a file in `folder`."""
    file = folder / "examples.pickle"
    subprocess.run([sys.executable, "-m", __name__, file], check=True, stdout=subprocess.DEVNULL, timeout=300)
    drafts: list[Draft] = pickle.loads(file.read_bytes())
    return drafts


def _collected() -> list[Draft]:
    from onnx.backend.test.case.node import collect_testcases

    from drnn_export.lint.tables import load_table

    known = load_table("tensorrt-rtx").operators
    drafts = [_draft(case) for case in collect_testcases(None) if len(case.model.graph.node) == 1 and case.data_sets]
    return [draft for draft in drafts if draft is not None and draft.operator in known]


def _draft(case: Any) -> Draft | None:
    """One example; None where its inputs are no arrays, or large ones."""
    (node,) = case.model.graph.node
    given = dict(zip([value.name for value in case.model.graph.input], case.data_sets[0][0], strict=False))
    values = [None if not name else given.get(name) for name in node.input]
    if any(
        name and not isinstance(value, np.ndarray | np.generic) for name, value in zip(node.input, values, strict=True)
    ):
        return None
    inputs = tuple(None if value is None else np.asarray(value) for value in values)
    if any(value is not None and (value.dtype.kind in "OUS" or value.size > _MOST) for value in inputs):
        return None
    return Draft(
        node.op_type,
        inputs,
        frozenset(
            index
            for index, value in enumerate(inputs)
            if index and value is not None and value.dtype == np.int64 and value.ndim <= 1
        ),
        {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute},
        len(node.output),
        next((opset.version for opset in case.model.opset_import if not opset.domain), 1),
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    Path(sys.argv[1]).write_bytes(pickle.dumps(_collected()))
