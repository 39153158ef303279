from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drnn_core.errors import InputError, SpecError
from drnn_core.types import Examples
from drnn_models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from drnn_models.plain_files import load_plain
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from tests.networks import random_inputs, random_weights, specs

SPEC = ModelSpec("lstm", (3, 4), (2, 4), Continuous(2), Head("last_k", 3, 2))


def make_checkpoint(spec: ModelSpec = SPEC, seed: int = 0) -> Checkpoint:
    return Checkpoint(
        spec,
        random_weights(spec, seed),
        task={"name": "copy-memory", "length": 25, "options": {"delay": 5}},
        metrics={"accuracy": 0.5},
        provenance={"seed": 1, "versions": {"numpy": "2"}, "rates": [1e-3, None, True]},
        examples=Examples(random_inputs(spec, 2, 7, seed), np.zeros((2, 2), np.int64), "made up"),
    )


def assert_same(one: Checkpoint, other: Checkpoint) -> None:
    assert one.spec == other.spec
    assert (one.task, one.metrics, one.provenance) == (other.task, other.metrics, other.provenance)
    assert list(one.weights) == list(other.weights)
    for name, value in one.weights.items():
        np.testing.assert_array_equal(value, other.weights[name], strict=True)
    assert (one.examples is None) == (other.examples is None)
    if one.examples is not None and other.examples is not None:
        np.testing.assert_array_equal(one.examples.inputs, other.examples.inputs, strict=True)
        np.testing.assert_array_equal(one.examples.targets, other.examples.targets, strict=True)
        assert one.examples.source == other.examples.source


@given(specs(), st.integers(0, 2**31))
def test_what_is_saved_is_what_is_loaded(tmp_path_factory: pytest.TempPathFactory, spec: ModelSpec, seed: int) -> None:
    path = tmp_path_factory.mktemp("round trip") / "model.pt"
    saved = make_checkpoint(spec, seed)
    save_checkpoint(path, saved)
    assert_same(saved, load_checkpoint(path))
    assert [file.name for file in path.parent.iterdir()] == ["model.pt"]


def test_everything_but_spec_and_weights_is_optional(tmp_path: Path) -> None:
    bare = Checkpoint(SPEC, random_weights(SPEC, 0))
    save_checkpoint(tmp_path / "model.pt", bare)
    assert set(load_plain(tmp_path / "model.pt")) == {"format", "spec", "state_dict"}
    assert_same(bare, load_checkpoint(tmp_path / "model.pt"))


def test_file_holds_nothing_that_loading_could_execute(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "model.pt", make_checkpoint())
    assert torch.load(tmp_path / "model.pt", weights_only=True)["format"] == "drnn-deploy/1"


def test_network_computes_with_the_loaded_weights(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "model.pt", make_checkpoint())
    network = load_checkpoint(tmp_path / "model.pt").network()
    assert not network.training
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), random_weights(SPEC, 0)[name])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_of_any_floating_type_become_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    save_checkpoint(tmp_path / "model.pt", make_checkpoint())
    contents = torch.load(tmp_path / "model.pt", weights_only=True)
    contents["state_dict"] = {name: value.to(dtype) for name, value in contents["state_dict"].items()}
    torch.save(contents, tmp_path / "model.pt")
    for name, value in load_checkpoint(tmp_path / "model.pt").weights.items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, contents["state_dict"][name].float().numpy())


def test_parameters_and_views_are_as_good_as_plain_tensors(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "model.pt", make_checkpoint())
    contents = torch.load(tmp_path / "model.pt", weights_only=True)
    whole = dict(contents["state_dict"])
    contents["state_dict"] = {name: torch.nn.Parameter(value) for name, value in whole.items()}
    contents["state_dict"]["head.weight"] = whole["head.weight"].T.contiguous().T
    torch.save(contents, tmp_path / "model.pt")
    assert_same(make_checkpoint(), load_checkpoint(tmp_path / "model.pt"))


def test_weights_are_in_the_order_of_the_spec(tmp_path: Path) -> None:
    weights = random_weights(SPEC, 0)
    save_checkpoint(tmp_path / "model.pt", Checkpoint(SPEC, dict(reversed(weights.items()))))
    assert list(load_checkpoint(tmp_path / "model.pt").weights) == list(SPEC.weight_shapes())


def test_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path, draw = tmp_path / "model.pt", random.Random(0)
    save_checkpoint(path, make_checkpoint())
    whole, refusals = path.read_bytes(), 0
    for _ in range(200):
        flipped = bytearray(whole)
        flipped[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
        try:
            assert_same(make_checkpoint(), load_checkpoint(path))
        except InputError:
            refusals += 1
    assert refusals > 50


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_diverged_weights_are_not_saved(tmp_path: Path, bad: float) -> None:
    diverged = make_checkpoint()
    diverged.weights["head.bias"][1] = bad
    with pytest.raises(InputError, match=r"'head\.bias' holds 1 values that are NaN or infinite"):
        save_checkpoint(tmp_path / "model.pt", diverged)
    assert not list(tmp_path.iterdir())


def test_checkpoint_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="cannot write"):
        save_checkpoint(tmp_path / "file" / "model.pt", make_checkpoint())
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_tokens_at_both_ends_of_the_vocabulary_are_examples(tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, input=Tokens(7))
    examples = Examples(np.array([[0, 6]]), np.array([1]), "made up")
    save_checkpoint(tmp_path / "model.pt", Checkpoint(spec, random_weights(spec, 0), examples=examples))
    loaded = load_checkpoint(tmp_path / "model.pt").examples
    assert loaded is not None
    np.testing.assert_array_equal(loaded.inputs, [[0, 6]])


REAL = dataclasses.replace(SPEC, input=Continuous(3), head=Head("last", 2))
SYMBOLS = dataclasses.replace(REAL, input=Tokens(50, 6))
SAMPLES, CLASSES = np.zeros((4, 20, 3), np.float32), np.zeros(4, np.int64)
REFUSED_EXAMPLES: dict[str, tuple[ModelSpec, Any, Any, str]] = {
    "targets int32": (REAL, SAMPLES, CLASSES.astype(np.int32), "targets int32"),
    "targets float64": (REAL, SAMPLES, CLASSES.astype(np.float64), "targets float64"),
    "targets too few": (REAL, SAMPLES, CLASSES[:3], r"targets int64 \(3,\) for 4"),
    "targets infinite": (REAL, SAMPLES, np.full(4, np.inf, np.float32), "targets that are NaN or infinite"),
    "targets of objects": (REAL, SAMPLES, np.array([None] * 4), "targets object"),
    "inputs float64": (REAL, SAMPLES.astype(np.float64), CLASSES, "inputs float64"),
    "inputs of another order": (REAL, SAMPLES.astype(">f4"), CLASSES, "inputs >f4"),
    "inputs NaN": (REAL, SAMPLES * np.nan, CLASSES, "inputs that are NaN"),
    "inputs of another width": (REAL, np.zeros((4, 20, 4), np.float32), CLASSES, "does not take"),
    "inputs without steps": (REAL, SAMPLES[:, :0], CLASSES, "does not take"),
    "inputs of a list": (REAL, [[1.0]], CLASSES, "must hold arrays"),
    "tokens int32": (SYMBOLS, np.zeros((4, 20), np.int32), CLASSES, "inputs int32"),
    "tokens outside": (SYMBOLS, np.full((4, 20), 50), CLASSES, "tokens outside 0 to 49"),
    "tokens negative": (SYMBOLS, np.full((4, 20), -1), CLASSES, "tokens outside 0 to 49"),
}


@pytest.mark.parametrize("name", REFUSED_EXAMPLES)
def test_examples_that_would_not_be_read_are_not_written(tmp_path: Path, name: str) -> None:
    spec, inputs, targets, says = REFUSED_EXAMPLES[name]
    with pytest.raises(InputError, match=says):
        save_checkpoint(
            tmp_path / "model.pt", Checkpoint(spec, random_weights(spec, 0), examples=Examples(inputs, targets, "mine"))
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(4,), (4, 2), (4, 20, 2)])
def test_values_of_a_regression_are_targets(tmp_path: Path, shape: tuple[int, ...]) -> None:
    targets = np.random.default_rng(0).standard_normal(shape, np.float32)
    saved = Checkpoint(REAL, random_weights(REAL, 0), examples=Examples(SAMPLES, targets, "mine"))
    save_checkpoint(tmp_path / "model.pt", saved)
    loaded = load_checkpoint(tmp_path / "model.pt")
    assert_same(saved, loaded)
    assert loaded.examples is not None
    assert loaded.examples.classes is None
    assert Examples(SAMPLES, CLASSES, "").classes is CLASSES


def test_arrays_that_torch_takes_no_memory_of_are_copied(tmp_path: Path) -> None:
    """Read-only ones, and those that run backwards."""
    weights = random_weights(REAL, 0)
    for name, value in weights.items():
        weights[name] = value[::-1].copy()[::-1]
        weights[name].flags.writeable = False
    examples = Examples(np.broadcast_to(SAMPLES[:1, :, ::-1], SAMPLES.shape), CLASSES[::-1], "mine")
    saved = Checkpoint(REAL, weights, examples=examples)
    save_checkpoint(tmp_path / "model.pt", saved)
    assert_same(saved, load_checkpoint(tmp_path / "model.pt"))


@pytest.mark.parametrize("name", ["task", "metrics", "provenance"])
@pytest.mark.parametrize(
    "value", [{"a": object()}, {"a": {1, 2}}, [1], "text", None, 3], ids=lambda value: type(value).__name__
)
def test_what_json_cannot_hold_is_not_written(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"'{name}' must"):
        save_checkpoint(tmp_path / "model.pt", dataclasses.replace(make_checkpoint(), **{name: value}))
    endless: dict[str, Any] = {}
    endless["a"] = endless
    with pytest.raises(InputError, match=f"'{name}' must hold JSON types only: its lists and tables are nested"):
        save_checkpoint(tmp_path / "model.pt", dataclasses.replace(make_checkpoint(), **{name: endless}))
    assert not list(tmp_path.iterdir())


def test_a_task_goes_into_manifests_which_know_no_infinity(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "model.pt", dataclasses.replace(make_checkpoint(), metrics={"loss": float("inf")}))
    with pytest.raises(InputError, match="'task' must hold JSON types only"):
        save_checkpoint(tmp_path / "other.pt", dataclasses.replace(make_checkpoint(), task={"loss": float("nan")}))


def test_network_too_large_for_any_file_is_refused_before_its_weights_are_looked_at(tmp_path: Path) -> None:
    large = dataclasses.replace(REAL, hidden=(1 << 20, 1))
    with pytest.raises(InputError, match=r"weights take 17\.6 TB, and at most 805 MB are read"):
        save_checkpoint(tmp_path / "model.pt", Checkpoint(large, {}))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([10**600, 1 << 24, (1 << 24) + 1, "rnn", "gru", "last", "tokens", "continuous"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def altered_specs(draw: st.DrawFn) -> Any:
    """A right spec with one to three values, at any depth, taken out, renamed or replaced by anything."""
    spec: Any = draw(specs()).to_json()
    for _ in range(draw(st.integers(1, 3))):
        at: Any = spec
        while True:
            keys = sorted(at) if isinstance(at, dict) else range(len(at))
            key = draw(st.sampled_from(keys)) if keys else None
            if key is None or not isinstance(at[key], (dict, list)) or draw(st.booleans()):
                break
            at = at[key]
        if key is not None and draw(st.integers(0, 3)) == 0:
            del at[key]
        elif key is not None:
            at[key] = draw(json_values)
        if isinstance(at, dict) and draw(st.integers(0, 5)) == 0:
            at[draw(st.text(max_size=8))] = draw(json_values)
    return spec


@given(json_values | altered_specs())
def test_any_json_is_a_spec_or_a_spec_error(value: Any) -> None:
    try:
        spec = ModelSpec.from_json(value)
    except SpecError as error:
        assert error.message.startswith("spec")
        assert len(error.message) < 2000
    else:
        assert ModelSpec.from_json(spec.to_json()) == spec


def test_number_too_long_to_print_is_refused_without_printing_it() -> None:
    with pytest.raises(SpecError, match=r"spec\.hidden\[0\]: must be a whole number .*, got an unprintable int"):
        ModelSpec.from_json({**SPEC.to_json(), "hidden": [10**5000, 4]})


@given(specs())
def test_spec_survives_json(spec: ModelSpec) -> None:
    assert ModelSpec.from_json(spec.to_json()) == spec
