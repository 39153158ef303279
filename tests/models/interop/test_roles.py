"""What a weight beside the recurrent layers is; what its shape leaves open is asked for, with advice for each role."""

from __future__ import annotations

import pytest

from drnn_core.errors import InputError
from drnn_models.interop.choices import Choices
from drnn_models.interop.convert import import_weights
from drnn_models.interop.layouts import Layout
from drnn_models.spec import Tokens
from tests.models.interop.foreign_states import State, drnn, ones, stack

SQUARE = {"weight_ih_l0": ones(12, 3)}  # changes a stack of width 3 to one that also reads 3 features
HEAD, TABLE = "type: --head-weight {0} --compare original.npz", "type: --embedding {0} --compare original.npz"
FOLD = "multiply it into the first"


def separate(**changes: object) -> State:
    """Two LSTMs of width 3 on 2 features, each a module of its own."""
    state = {f"rnns.0.{name}": value for name, value in stack(1).items()}
    state |= {f"rnns.1.{name}": value for name, value in stack(1, weight_ih_l0=ones(12, 3)).items()}
    return state | {name.replace("__", "."): value for name, value in changes.items()}  # type: ignore[dict-item]


REFUSED: dict[str, tuple[State, Layout, Choices, str, list[str], list[str]]] = {
    "head or front": (
        stack(**{"fc.weight": ones(2, 3), "fc.bias": ones(2)}), "torch", Choices(),
        "'fc.weight' could be the head or a layer before the recurrent ones", [HEAD, FOLD], [TABLE],
    ),
    "head or embedding": (
        stack(**SQUARE, **{"fc.weight": ones(7, 3)}), "torch", Choices(),
        "'fc.weight' could be the head or the embedding", [HEAD, TABLE], [FOLD],
    ),
    "head, embedding or front": (
        stack(**SQUARE, **{"fc.weight": ones(3, 3)}), "torch", Choices(), "could be the head or a layer before the "
        "recurrent ones or the embedding", [HEAD, TABLE, FOLD], [],
    ),
    "head or front, behind an embedding": (
        stack(**SQUARE, **{"emb.weight": ones(9, 3), "fc.weight": ones(3, 3)}), "torch", Choices(embedding="emb"),
        "'fc.weight' could be the head or a layer before the recurrent ones", [HEAD, FOLD], [TABLE],
    ),
    "head or between": (
        separate(fc__weight=ones(3, 3)), "torch", Choices((1, 1)), "the head or a layer between", [HEAD], [TABLE, FOLD],
    ),
    "front": (stack(**{"fc.weight": ones(2, 7)}), "torch", Choices(), "1 weights are left over", [FOLD], [HEAD, TABLE]),
    "embedding": (stack(**{"fc.weight": ones(7, 2)}), "torch", Choices(), "left over", [TABLE], [HEAD, FOLD]),
    "embedding and head": (
        drnn(fc_weight=ones(9, 2)), "zalando", Choices(), "3 weights are left over",
        ["If 'fc.weight' is the table", "type: --embedding fc.weight --head-weight linear.weight --compare"], [FOLD],
    ),
    "embedding and head, either way": (
        stack(**SQUARE, **{"fc.weight": ones(7, 3), "emb.weight": 2 * ones(7, 3)}), "torch", Choices(), "left over",
        ["--embedding fc.weight --head-weight emb.weight --compare",
         "--embedding emb.weight --head-weight fc.weight --compare"], [],
    ),
    "one table at both ends": (
        stack(**SQUARE, **{"emb.weight": ones(7, 3), "fc.weight": ones(7, 3)}), "torch", Choices(), "left over",
        ["They are one table, read at both ends. Type: --embedding emb.weight --head-weight fc.weight"], ["--compare"],
    ),
    "head of two layers": (
        stack(**{"fc.0.weight": ones(5, 3), "fc.2.weight": ones(4, 5)}), "torch", Choices(), "left over",
        ["A head of several layers"], ["--"],
    ),
    "head of two layers, one named": (
        stack(**{"fc.0.weight": ones(5, 3), "fc.2.weight": ones(4, 5)}), "torch", Choices(head_weight="fc.0"),
        "left over: 'fc.2.weight'", ["A head of several layers"], ["--"],
    ),
    "two heads": (drnn(fc_weight=ones(5, 4)), "zalando", Choices(), "left over", ["second linear layer"], ["--"]),
    "front and head": (
        stack(**{"inp.weight": ones(2, 7), "fc.weight": ones(5, 3)}), "torch", Choices(), "left over",
        ["If 'inp.weight' stands before"], ["--head-weight"],
    ),
    "layer normalisation": (
        stack(**{"ln.weight": ones(3), "ln.bias": ones(3), "fc.weight": ones(5, 3)}), "torch", Choices(),
        "left over: 'ln.bias', 'ln.weight'", ["has no place"], ["--"],
    ),
    "initial state": (stack(h0=ones(2, 3)), "torch", Choices(), "left over: 'h0'", ["has no place"], ["--"]),
    "recurrent module that is not named": (
        {**separate(), "fc.weight": ones(5, 3)}, "torch", Choices(layers=("rnns.0",)), "left over: 'rnns.1.bias_hh_l0'",
        ["has no place"], ["--"],
    ),
    "embedding with a bias": (
        stack(**{"fc.weight": ones(2, 2), "fc.bias": ones(2)}), "torch", Choices(embedding="fc"), "has a bias", [FOLD],
        ["--embedding"],
    ),
    "embedding and one-hot": (
        stack(**{"fc.weight": ones(7, 2)}), "torch", Choices(embedding="fc", one_hot=True), "one-hot or looked up",
        ["Leave --one-hot out"], [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_roles_that_are_not_certain(case: str) -> None:
    state, layout, choices, says, advice, never = REFUSED[case]
    with pytest.raises(InputError) as refused:
        import_weights(state, layout, choices)
    assert says in refused.value.message
    for text in advice:
        assert text.format("fc.weight") in refused.value.fix
    for text in (*never, "--ignore"):
        assert text.format("fc.weight") not in refused.value.fix
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("shape", [(7, 3), (1, 3), (3, 3)])
def test_only_linear_map_that_reads_the_top_layer_and_nothing_else_is_the_head(shape: tuple[int, int]) -> None:
    state = stack(**{"fc.weight": ones(*shape), "fc.bias": ones(shape[0])})
    assert import_weights(state, "torch").origins["head.weight"] == "fc.weight"


def test_head_that_is_named_needs_no_other_certainty() -> None:
    state = stack(**{"fc.weight": ones(2, 3)})
    assert import_weights(state, "torch", Choices(head_weight="fc")).origins["head.weight"] == "fc.weight"


def test_input_of_one_hot_vectors_is_tokens() -> None:
    assert import_weights(stack(), "torch", Choices(one_hot=True)).spec.input == Tokens(2)
