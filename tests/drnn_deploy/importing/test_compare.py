"""An import is proven by what the original computed; what differs is refused, and so is what could not fail."""

from __future__ import annotations

import dataclasses
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drnn_core.errors import DeployError, InputError, ParityError
from drnn_deploy.importing.compare import compare_with_original
from drnn_deploy.importing.import_network import import_network
from drnn_deploy.importing.recorded import snippet
from drnn_models.cells import Reset
from drnn_models.checkpoint import Checkpoint, load_checkpoint
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.interop.choices import Choices
from drnn_models.interop.convert import Imported
from drnn_models.interop.import_file import import_file
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.reference.loop import run_reference
from tests.models.interop.foreign_states import FIXTURES
from tests.networks import random_inputs, random_weights, specs
from tests.nightly import NIGHTLY

SPEC = ModelSpec("gru", (4, 5), (1, 3), Continuous(2), Head("sequence", 3))


def network(spec: ModelSpec = SPEC, seed: int = 0) -> Imported:
    """A network as it comes out of a file that has all its weights under their own names."""
    weights = random_weights(spec, seed)
    return Imported(spec, weights, {name: name for name in weights}, [], [], [], [])


def write(path: Path, spec: ModelSpec = SPEC, *, steps: int = 12, seed: int = 0, dtype: Any = np.float64) -> Path:
    """What the network with these weights computes."""
    inputs = random_inputs(spec, 2, steps, 1)
    np.savez(
        path, inputs=inputs, outputs=run_reference(spec, network(spec, seed).weights, inputs).outputs.astype(dtype)
    )
    return path


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("spec", [
    SPEC, dataclasses.replace(SPEC, head=Head("last", 3)), dataclasses.replace(SPEC, head=Head("last_k", 3, 2)),
    ModelSpec("lstm", (4, 5), (2, 1), Tokens(7, 3), Head("last", 1)),
    ModelSpec("rnn", (3,), (2,), Tokens(5), SPEC.head),
    ModelSpec("rnn", (4,), (1,), Continuous(1), SPEC.head, "relu"),
], ids=str)  # fmt: skip
def test_equal_networks_pass(spec: ModelSpec, dtype: Any, tmp_path: Path) -> None:
    (result,) = compare_with_original(network(spec), write(tmp_path / "o.npz", spec, dtype=dtype))
    assert result.passed
    assert result.absolute is not None
    assert result.absolute < result.limit < 1e-5


def test_float32_of_torch_passes(tmp_path: Path) -> None:
    inputs = random_inputs(SPEC, 4, 60, 1)
    module = DilatedRNN(SPEC)
    module.load_state_dict({name: torch.from_numpy(value) for name, value in network().weights.items()})
    with torch.no_grad():
        np.savez(tmp_path / "o.npz", inputs=inputs, outputs=module(torch.from_numpy(inputs)).numpy())
    assert compare_with_original(network(), tmp_path / "o.npz")[0].passed


@settings(max_examples=300 if NIGHTLY else 14)
@given(specs(), st.integers(0, 2**31), st.data())
def test_any_change_of_a_network_is_found(spec: ModelSpec, seed: int, data: st.DataObject) -> None:
    """A changed number of any weight that matters, or another spec of the same shapes."""
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "o.npz", spec, steps=24)
        changed = network(spec)
        name = data.draw(st.sampled_from(sorted(changed.weights)))
        value = changed.weights[name].copy()
        value[tuple(seed % size for size in value.shape)] += 0.5
        inputs = random_inputs(spec, 2, 24, 1)
        before = run_reference(spec, changed.weights, inputs).outputs
        changed.weights[name] = value
        moved = float(np.abs(run_reference(spec, changed.weights, inputs).outputs - before).max())
        try:
            compare_with_original(changed, path)
        except DeployError:
            return
        assert moved < 1e-5


def test_first_step_that_is_off_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "o.npz")
    with np.load(path) as stored:
        inputs, outputs = stored["inputs"], stored["outputs"].copy()
    outputs[1, 7:] += 1e-3
    np.savez(path, inputs=inputs, outputs=outputs)
    with pytest.raises(ParityError) as refused:
        compare_with_original(network(), path)
    assert "not the original: error 1.0e-03 where " in refused.value.message
    assert "Of the steps 0 to 11, 7 is the first that is off" in refused.value.message


def test_other_dilations_are_found_and_nothing_is_written(tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, dilations=(1, 1))
    torch.save({n: torch.from_numpy(v) for n, v in network(spec).weights.items()}, tmp_path / "w.pt")
    proof, model = write(tmp_path / "o.npz", spec), tmp_path / "model.pt"
    for dilations, right in (((1, 2), False), ((2, 1), False), ((1, 1), True)):
        choices = Choices(dilations, head="sequence")
        if right:
            result = import_network(tmp_path / "w.pt", model, choices=choices, compare=proof)
            assert result.comparison is not None
            assert load_checkpoint(model).spec == spec
        else:
            with pytest.raises(ParityError):
                import_network(tmp_path / "w.pt", model, choices=choices, compare=proof)
            assert not model.exists()


BLIND: dict[str, tuple[ModelSpec, dict[str, Any], str]] = {
    "one step": (SPEC, {"inputs": np.ones((2, 1, 2), np.float32)}, "hardly depend on 'layers.0.weight_hh_l0'"),
    "shorter than a dilation": (
        SPEC, {"inputs": np.ones((2, 3, 2), np.float32)}, "hardly depend on 'layers.1.weight_hh_l0'"
    ),
    "zeros": (SPEC, {"inputs": np.zeros((2, 9, 2), np.float32)}, "hardly depend on 'layers.0.weight_ih_l0'"),
    "tiny": (SPEC, {"inputs": np.full((2, 9, 2), 1e-12, np.float32)}, "hardly depend on 'layers.0.weight_ih_l0'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BLIND)
def test_comparison_that_could_not_fail_is_refused(case: str, tmp_path: Path) -> None:
    spec, arrays, says = BLIND[case]
    outputs = run_reference(spec, network(spec).weights, arrays["inputs"]).outputs
    np.savez(tmp_path / "o.npz", **arrays, outputs=outputs)
    with pytest.raises(InputError) as refused:
        compare_with_original(network(spec), tmp_path / "o.npz")
    assert says in refused.value.message
    assert "torch.randn(2, 17, 2)" in refused.value.fix


def test_network_that_amplifies_rounding_proves_nothing(tmp_path: Path) -> None:
    spec = ModelSpec("rnn", (64,), (1,), Continuous(1), Head("last", 3))
    chaotic, orthogonal = network(spec), np.linalg.qr(np.random.default_rng(0).normal(size=(64, 64)))[0]
    chaotic.weights["layers.0.weight_hh_l0"] = (orthogonal * 5 / 3).astype(np.float32)
    chaotic.weights["layers.0.weight_ih_l0"] *= np.float32(0.1)
    for part in ("bias_ih", "bias_hh"):
        chaotic.weights[f"layers.0.{part}_l0"][:] = 0
    inputs = random_inputs(spec, 2, 180, 1)
    np.savez(tmp_path / "o.npz", inputs=inputs, outputs=run_reference(spec, chaotic.weights, inputs).outputs)
    with pytest.raises(InputError) as refused:
        compare_with_original(chaotic, tmp_path / "o.npz")
    assert "proves nothing. Rounding moves the outputs" in refused.value.message
    inputs = inputs[:, :20]
    np.savez(tmp_path / "o.npz", inputs=inputs, outputs=run_reference(spec, chaotic.weights, inputs).outputs)
    assert compare_with_original(chaotic, tmp_path / "o.npz")[0].passed


def test_several_pairs_are_compared_together(tmp_path: Path) -> None:
    short, long = random_inputs(SPEC, 2, 2, 1), random_inputs(SPEC, 1, 9, 2)
    arrays = {"inputs_2": short, "inputs_9": long}
    for name, inputs in list(arrays.items()):
        arrays[name.replace("in", "out")] = run_reference(SPEC, network().weights, inputs).outputs
    np.savez(tmp_path / "o.npz", **arrays)
    assert [case.case for case in compare_with_original(network(), tmp_path / "o.npz")] == ["inputs_2", "inputs_9"]
    arrays["outputs_9"] = arrays["outputs_9"] + 1
    np.savez(tmp_path / "o.npz", **arrays)
    with pytest.raises(ParityError, match="inputs_9"):
        compare_with_original(network(), tmp_path / "o.npz")


@pytest.mark.parametrize("file", ["zalando-rnn", "zalando-gru-copy", "zalando-lstm-classifier"])
def test_outputs_of_the_original_classes_prove_their_imports(file: str, tmp_path: Path) -> None:
    choices = Choices(head="last" if "classifier" in file else "sequence")
    where = FIXTURES / file
    result = import_network(
        where.with_suffix(".pt"), tmp_path / "m.pt", "zalando", choices, compare=where.with_suffix(".npz")
    )
    assert [case.case for case in result.comparison or ()] == ["inputs_13", "inputs_3", "inputs_8"]


@pytest.mark.parametrize("outputs, says", [
    (np.zeros((2, 3)), r"outputs have shape (2, 3), the network's (2, 12, 3)"),
    (np.zeros((12, 2, 3)), r"outputs have shape (12, 2, 3)"),
])  # fmt: skip
def test_outputs_of_another_shape_are_refused(outputs: Any, says: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "o.npz", inputs=random_inputs(SPEC, 2, 12, 1), outputs=outputs)
    with pytest.raises(ParityError) as refused:
        compare_with_original(network(), tmp_path / "o.npz")
    assert says in refused.value.message
    assert "--head last" in refused.value.fix


@settings(max_examples=300 if NIGHTLY else 15)
@given(specs())
def test_own_state_dict_says_its_spec(spec: ModelSpec) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file, model = Path(folder) / "w.pt", Path(folder) / "model.pt"
        module = DilatedRNN(spec)
        torch.save(module.state_dict(), file)
        assert import_file(file, model).spec == spec
        loaded = load_checkpoint(model)
        for name, value in module.state_dict().items():
            np.testing.assert_array_equal(loaded.weights[name], value.numpy())


def test_own_state_dict_in_a_wrapper_says_its_spec(tmp_path: Path) -> None:
    spec = ModelSpec("gru", (4,), (3,), Tokens(5), Head("last_k", 3, 2), reset="before")
    torch.save({"state_dict": torch.nn.DataParallel(DilatedRNN(spec)).state_dict()}, tmp_path / "w.pt")
    assert import_file(tmp_path / "w.pt", tmp_path / "m.pt").spec == spec


@settings(max_examples=300 if NIGHTLY else 15)
@given(specs())
def test_own_state_dict_without_its_metadata_is_imported_from_options(spec: ModelSpec) -> None:
    choices = Choices(
        spec.dilations,
        spec.activation,
        spec.head.kind,
        spec.head.steps if spec.head.kind == "last_k" else None,
        reset=spec.reset,
        one_hot=isinstance(spec.input, Tokens) and spec.input.embedding is None,
    )
    with tempfile.TemporaryDirectory() as folder:
        torch.save(dict(DilatedRNN(spec).state_dict()), Path(folder) / "w.pt")
        assert import_file(Path(folder) / "w.pt", Path(folder) / "m.pt", choices=choices).spec == spec


@settings(max_examples=100 if NIGHTLY else 10)
@given(specs("gru"), st.integers(0, 2**31))
def test_where_a_gru_resets_is_asked_for_or_seen_in_the_outputs(spec: ModelSpec, seed: int) -> None:
    """Its weights do not say it, and no default is right for both."""
    spec = dataclasses.replace(spec, hidden=tuple(width + 2 for width in spec.hidden))
    said = Choices(
        spec.dilations,
        head=spec.head.kind,
        steps=spec.head.steps if spec.head.kind == "last_k" else None,
        one_hot=isinstance(spec.input, Tokens) and spec.input.embedding is None,
    )
    weights = {name: 2 * value for name, value in random_weights(spec, seed).items()}
    inputs = random_inputs(spec, 4, 2 * max(spec.dilations) + sum(spec.dilations) + 1, seed)
    with tempfile.TemporaryDirectory() as folder:
        file, model, original = (Path(folder) / name for name in ("w.pt", "m.pt", "o.npz"))
        torch.save({name: torch.from_numpy(value) for name, value in weights.items()}, file)
        np.savez(original, inputs=inputs, outputs=run_reference(spec, weights, inputs).outputs)
        with pytest.raises(InputError, match="do not say where their GRU resets") as refused:
            import_file(file, model, choices=said)
        assert "--reset after" in refused.value.fix and "--reset before" in refused.value.fix
        assert not model.exists()
        try:
            imported = import_network(file, model, choices=said, compare=original).imported
        except InputError as error:  # inputs on which a wrong network could pass
            assert re.search("hardly depend on|proves nothing|do not tell where", error.message)
            assert not model.exists()
        else:
            assert imported.spec == load_checkpoint(model).spec == spec
            assert any(f"the reset is {spec.reset}" in note for note in imported.notes)


@pytest.mark.parametrize("reset", ["after", "before"])
def test_reset_is_found_by_comparison(reset: Reset, tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, reset=reset)
    inputs = random_inputs(spec, 2, 40, 1)
    torch.save(dict(Checkpoint(spec, network().weights).network().state_dict()), tmp_path / "w.pt")
    np.savez(tmp_path / "o.npz", inputs=inputs, outputs=run_reference(spec, network().weights, inputs).outputs)
    choices = Choices(spec.dilations, head=spec.head.kind)
    found = import_network(tmp_path / "w.pt", tmp_path / "m.pt", choices=choices, compare=tmp_path / "o.npz")
    assert load_checkpoint(tmp_path / "m.pt").spec == found.imported.spec == spec


def test_outputs_that_fit_both_resets_decide_nothing(tmp_path: Path) -> None:
    """Of one unit without bias they are one equation."""
    spec = ModelSpec("gru", (1,), (1,), Continuous(1), Head("sequence", 1))
    weights = {name: np.ones(shape, np.float32) for name, shape in spec.weight_shapes().items()}
    weights["layers.0.bias_hh_l0"][:] = 0
    inputs = random_inputs(spec, 2, 40, 1)
    torch.save({name: torch.from_numpy(value) for name, value in weights.items()}, tmp_path / "w.pt")
    np.savez(tmp_path / "o.npz", inputs=inputs, outputs=run_reference(spec, weights, inputs).outputs)
    with pytest.raises(InputError, match="do not tell where its GRU resets"):
        import_network(
            tmp_path / "w.pt", tmp_path / "m.pt", choices=Choices((1,), head="sequence"), compare=tmp_path / "o.npz"
        )
    assert not (tmp_path / "m.pt").exists()


@pytest.mark.parametrize("spec", ["{}", "[", 3, '{"cell": "gru"}', None])
def test_spec_in_the_metadata_that_is_none_is_refused(spec: Any, tmp_path: Path) -> None:
    state = DilatedRNN(SPEC).state_dict()
    state._metadata[""]["spec"] = spec  # type: ignore[attr-defined]
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(InputError, match="the spec in its metadata cannot be read"):
        import_file(tmp_path / "w.pt", tmp_path / "m.pt")


def test_code_has_steps_beyond_every_dilation() -> None:
    assert "torch.randn(2, 129, 2)" in snippet(dataclasses.replace(SPEC, dilations=(1, 64)))
    assert "torch.randint(7, (2, 17))" in snippet(dataclasses.replace(SPEC, input=Tokens(7, 3)))
    assert "one-hot" in snippet(dataclasses.replace(SPEC, input=Tokens(7)))
