from __future__ import annotations

import onnx
from hypothesis import given
from hypothesis import strategies as st

from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle.protobuf import has_more_messages
from tests.networks import random_weights, specs


def parts(message: object) -> int:
    """Messages and texts within a message, counted by protobuf's own parser."""
    count = 0
    for field, value in message.ListFields():  # type: ignore[attr-defined]
        if field.type not in (field.TYPE_MESSAGE, field.TYPE_STRING, field.TYPE_BYTES):
            count += int(not isinstance(value, int | float) and field.is_packed)  # one text on the wire
            continue
        values = [value] if isinstance(value, str | bytes) or hasattr(value, "ListFields") else value
        count += len(values)
        if field.type == field.TYPE_MESSAGE:
            count += sum(map(parts, values))
    return count


@given(specs(), st.integers(1, 9), st.sampled_from(["fused", "unrolled"]))
def test_parts_are_counted_as_protobuf_does(spec: ModelSpec, steps: int, emission: str) -> None:
    model = emit(spec, random_weights(spec, 0), GraphRequest(steps, 1, emission))  # type: ignore[arg-type]
    data, count = model.SerializeToString(), parts(model)
    assert not has_more_messages(data, onnx.ModelProto.DESCRIPTOR, count)
    assert has_more_messages(data, onnx.ModelProto.DESCRIPTOR, count - 1)


@given(st.binary(max_size=300))
def test_any_bytes_are_counted_to_an_end(data: bytes) -> None:
    assert not has_more_messages(data, onnx.ModelProto.DESCRIPTOR, 1_000)
