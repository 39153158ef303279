from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from drnn_core.errors import SpecError
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from tests.networks import specs

SPEC = ModelSpec("gru", (4, 5), (1, 2), Continuous(3), Head("last", 10))


@given(specs())
def test_json_round_trip(spec: ModelSpec) -> None:
    assert ModelSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("cell", "transformer", r"spec\.cell: must be one of rnn, gru, lstm, got 'transformer'"),
        ("hidden", [4, 0], r"spec\.hidden\[1\]: must be a whole number from 1"),
        ("hidden", [], r"spec\.hidden: must be a list of 1 to"),
        ("hidden", [4], r"spec\.dilations: 2 dilations for 1 layers"),
        ("hidden", [True, 4], r"spec\.hidden\[0\]"),
        ("dilations", [1, -2], r"spec\.dilations\[1\]: must be a whole number from 1"),
        ("dilations", [1, 2.0], r"spec\.dilations\[1\]"),
        ("dilations", [1, 10**12], r"spec\.dilations\[1\]"),
        ("dilations", "12", r"spec\.dilations: must be a list"),
        ("activation", "relu", r"spec\.activation: 'relu' is only for cell 'rnn', not 'gru'"),
        ("reset", "never", r"spec\.reset: must be one of after, before, got 'never'"),
        ("fusion", True, r"spec\.fusion: needs a first dilation > 1"),
        ("fusion", "yes", r"spec\.fusion: must be bool"),
        ("input", {"kind": "video"}, r"spec\.input\.kind: must be one of continuous, tokens"),
        ("input", {"kind": "continuous", "features": 0}, r"spec\.input\.features"),
        ("input", {"kind": "tokens"}, r"spec\.input: missing field 'vocabulary'"),
        ("input", [], r"spec\.input\.kind"),
        ("head", {"kind": "last"}, r"spec\.head: missing field 'outputs'"),
        ("head", {"kind": "last", "outputs": 2, "steps": 3}, r"spec\.head\.steps: only head 'last_k'"),
        ("head", {"kind": "all", "outputs": 2}, r"spec\.head\.kind"),
        ("colour", 1, r"spec: unknown field 'colour'"),
    ],
)
def test_errors_name_the_field(field: str, value: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ModelSpec.from_json({**SPEC.to_json(), field: value})


def test_reset_is_of_a_gru_and_may_be_left_out_of_what_was_written_before_it_was_new() -> None:
    data = {**SPEC.to_json(), "reset": "before"}
    assert ModelSpec.from_json(data).reset == "before"
    with pytest.raises(SpecError, match=r"spec\.reset: 'before' is only for cell 'gru', not 'lstm'"):
        ModelSpec.from_json({**data, "cell": "lstm"})
    del data["reset"]
    assert ModelSpec.from_json(data) == SPEC


@pytest.mark.parametrize("field", ["cell", "hidden", "dilations", "input", "head"])
def test_missing_fields_are_named(field: str) -> None:
    data = SPEC.to_json()
    del data[field]
    with pytest.raises(SpecError, match=rf"spec: missing field '{field}'"):
        ModelSpec.from_json(data)


@pytest.mark.parametrize("data", [None, 3, "gru", [], {1: 2}])
def test_what_is_no_object_is_no_spec(data: object) -> None:
    with pytest.raises(SpecError, match="spec: must be an object"):
        ModelSpec.from_json(data)


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    one, two, three = np.arange(1, 4, dtype=np.int32)
    for read in (Continuous(two), Tokens(three, two)):  # type: ignore[arg-type]
        spec = ModelSpec("gru", [one, two], tuple(2 ** np.arange(2)), read, Head("last_k", three, two))  # type: ignore[arg-type]
        same = ModelSpec(
            "gru", (1, 2), (1, 2), Continuous(2) if isinstance(read, Continuous) else Tokens(3, 2), Head("last_k", 3, 2)
        )
        assert (spec, hash(spec), repr(spec)) == (same, hash(same), repr(same))
        assert ModelSpec.from_json(spec.to_json()) == same
    for wrong in (np.True_, np.float64(1), np.int64(0), np.arange(2)):
        with pytest.raises(SpecError, match="must be a whole number"):
            Continuous(wrong)  # type: ignore[arg-type]


def test_fusion_is_on_exactly_where_the_first_dilation_calls_for_it() -> None:
    def window(dilations: tuple[int, ...], fusion: bool | None) -> int:
        return ModelSpec("rnn", (3, 3), dilations, Tokens(4), Head("last", 2), fusion=fusion).window

    assert (window((1, 2), None), window((4, 8), None), window((4, 8), False)) == (1, 4, 1)


def test_parameters_of_the_paper_network_match_its_count() -> None:
    """One bias per gate set is 28,210 for the LSTM of 9 x 20; torch's second bias adds 9 * 80."""
    spec = ModelSpec("lstm", (20,) * 9, tuple(2**i for i in range(9)), Continuous(1), Head("last", 10))
    total = 0
    for shape in spec.weight_shapes().values():
        size = 1
        for axis in shape:
            size *= axis
        total += size
    assert total == 28_210 + 9 * 80
