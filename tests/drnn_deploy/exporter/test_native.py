"""The folder `native/` of a bundle: which files it has, what is in them, and that nothing of ours compiles them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from drnn_core.errors import InputError
from drnn_core.files import sha256
from drnn_core.licence import SENTENCES, SPDX
from drnn_deploy import ExportOptions, export
from drnn_deploy.exporter import native, pipeline
from drnn_deploy.exporter.native import self_test_cases
from drnn_deploy.parity.tolerance import Tolerance
from drnn_models.checkpoint import Checkpoint, save_checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle, GoldenCase
from drnn_runtimes.native.compiler import compiler
from tests.compilers import with_compiler
from tests.drnn_deploy.conftest import Command
from tests.networks import make_case
from tests.runtimes.native.packages import ONE_KERNEL, built, ran
from tests.sealing import reseal

pytestmark = pytest.mark.optional_runtimes("native")
RNN = make_case(ModelSpec("rnn", (5,), (3,), Continuous(2), Head("last", 3)), 1, 12).checkpoint()
CHECKED = {"engines": (), "runtimes": ("onnxruntime-cpu",)}
FILES = {
    *("CMakeLists.txt", "README.md", "drnn.h", "drnn_cell.h", "example.c", "golden.h", "selftest.c"),
    *("waves.c", "waves.h", "waves.hpp", "waves_network.h"),
}


@pytest.fixture(autouse=True)
def code_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes seconds; tests/runtimes/native/test_code_size.py does it."""
    monkeypatch.setattr(native, "code_size", lambda sources, file: f"of {file}")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("native") / "bundle"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "code_size", lambda sources, file: f"of {file}")
        assert export(RNN, folder, ExportOptions(native=True, native_name="waves", length=12, **CHECKED)).exit_code == 0
    return folder


def test_files_are_in_the_manifest_and_move_with_the_bundle(exported: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(exported, tmp_path / "moved"))
    bundle = Bundle.open(moved)
    assert set(bundle.native) == {f"native/{name}" for name in FILES}
    assert {path.name for path in (moved / "native").iterdir()} == FILES
    assert all(bundle.files[name] == sha256(moved / name) for name in bundle.native)
    (moved / "native" / "waves.c").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=r"waves\.c is not the file that the manifest describes"):
        Bundle.open(moved)


def test_readme_states_the_sizes(exported: Path) -> None:
    readme = (exported / "native" / "README.md").read_text(encoding="utf-8")
    header = (exported / "native" / "waves.h").read_text(encoding="utf-8")
    assert "| code, `-O3` | of waves.c |" in readme
    assert f"| weights, constant | {4 * 8 * (2 + 1 + 5 + 15 + 1)} |" in readme  # 8 units in place of 5 and of 3
    state = 4 * (4 * 8 + 3 * 8)  # a ring for 3 steps and the one that is written, and the head's window of 3
    assert f"| a stream: state of one sequence | {32 + state} |" in readme
    assert f"#define WAVES_STREAM_BYTES(batch) (32 + (size_t)(batch) * {state})" in header
    assert "@" not in readme + header
    assert all(line in readme for line in (SPDX, *SENTENCES))


def test_code_of_many_weights_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    case = GoldenCase("normal", np.zeros((1, 12, 2), np.float32), np.zeros((1, 3)), np.zeros(3))
    count = sum(weight.size for weight in RNN.weights.values())
    for most, code in ((count, "of waves.c"), (count - 1, "not measured: the weights take a compiler long")):
        monkeypatch.setattr(native, "_MOST_COMPILED", most)
        made = native.native_sources(RNN, "waves", [case], Tolerance())
        assert f"code {code}, " in made.summary
        assert f"| code, `-O3` | {code} |" in made.files["README.md"].decode()


@with_compiler
@pytest.mark.parametrize("form", ["sequence", "chunk"])
def test_self_test_of_a_bundle_passes(form: str, exported: Path, tmp_path: Path) -> None:
    names = {"sequence": ["normal", "zeros", "large", "ramp", "edge fp32"], "chunk": ["stream", "edge stream fp32"]}
    if form == "chunk":
        exported = tmp_path / "bundle"
        options = ExportOptions(native=True, forms=("chunk",), chunk=4, precisions=("bf16", "fp32"), **CHECKED)
        assert export(RNN, exported, options).exit_code == 0
    folder = Path(shutil.copytree(exported / "native", tmp_path / "elsewhere"))
    said = ran(built(folder, "selftest.c", "selftest", "-O0", *ONE_KERNEL)).splitlines()
    assert [re.split(r" +\d+ x ", line)[0] for line in said[:-1]] == names[form]
    assert said[-1].startswith(f"PASSED {'waves' if form == 'sequence' else 'model'}: ")


@with_compiler
def test_weights_in_int8_pass_their_self_test_and_take_less(command: Command, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "waves.pt", RNN)
    words = [tmp_path / "waves.pt", "--length", 12, "--engine", "none", "--runtime", "onnxruntime-cpu"]
    words += ["--native-precision", "int8", "--output"]
    refused = command(*words, tmp_path / "refused")
    assert refused.code == 2 and "--precision fp32 --precision int8" in refused.err
    assert not (tmp_path / "refused").exists()
    ran_ = command(*words, tmp_path / "bundle", "--precision", "int8")
    assert ran_.code == 0
    folder = tmp_path / "bundle" / "native"
    assert "PASSED waves: " in ran(built(folder, "selftest.c", "selftest", "-O0", *ONE_KERNEL))
    matrices, biases_and_scales = 8 * (2 + 5 + 15), 4 * 8 * (1 + 2 + 2)  # of the layer and of the head
    assert f"weights {matrices + biases_and_scales} bytes" in ran_.out


def test_same_model_gives_same_sources(exported: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    export(RNN, again, ExportOptions(native=True, native_name="waves", length=12, **CHECKED))
    for name in FILES:
        assert (again / "native" / name).read_bytes() == (exported / "native" / name).read_bytes(), name


def test_next_export_replaces_the_folder(exported: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(exported, tmp_path / "bundle"))
    export(RNN, place, ExportOptions(length=12, **CHECKED))
    assert Bundle.open(place).native == [] and not (place / "native").exists()
    place = Path(shutil.copytree(exported, tmp_path / "other"))
    (place / "native" / "notes.txt").touch()
    with pytest.raises(InputError, match=r"would be deleted: native/notes\.txt"):
        export(RNN, place, ExportOptions(length=12, **CHECKED))


def test_nothing_of_ours_compiles_what_lies_there(exported: Path, tmp_path: Path, command: Command) -> None:
    place = Path(shutil.copytree(exported, tmp_path / "bundle"))
    for name in Bundle.open(place).native:
        (place / name).write_text("#error compiled\n", encoding="utf-8")
    reseal(place)
    assert f"native   native/{min(FILES)}, " in command("drnn-deploy", "inspect", place).out
    checked = command("drnn-deploy", "parity", place)
    assert checked.code == 0
    if compiler():
        assert re.search(r"native +. sequence .* PASSED", checked.out)


def test_command_line(command: Command, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model.parent)
    odd = model.rename(model.with_name("9 Waves.pt"))
    flags = (odd, "--engine", "none", "--runtime", "onnxruntime-cpu", "--output", "out", "--json", "out.json")
    ran = command(*flags, "--native")
    assert ran.code == 0
    assert re.search(
        r"^native  native/network_9_waves\.h: weights [\d,]+ bytes, code of network_9_waves\.c, ", ran.out, re.M
    )
    assert "native/network_9_waves.h" in json.loads(Path("out.json").read_text(encoding="utf-8"))["native"]
    assert command(*flags, "--native-name", "waves").code == 0
    assert Path("out", "native", "waves.h").is_file()
    refused = command(*flags, "--native-name", "Waves!")
    assert refused.code == 2 and "cannot name a network in C" in refused.err and "--native-name waves" in refused.err
    assert command(*flags).code == 0 and not Path("out", "native").exists()


def test_compiled_for_other_systems(command: Command, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ziglang makes is checked by tests/runtimes/native/test_cross.py."""
    monkeypatch.chdir(model.parent)
    flags = (model, "--engine", "none", "--runtime", "onnxruntime-cpu", "--output", "out")
    refused = command(*flags, "--native-target", "riscv64-linux-gnu")
    assert refused.code == 2 and "Choose from: aarch64-linux-gnu, " in refused.err and not Path("out").exists()
    monkeypatch.setattr(pipeline, "check_targets", lambda targets: None)
    monkeypatch.setattr(
        native,
        "build_for",
        lambda target, name, sources: {f"{target}/lib{name}.a": b"\0", f"{target}/selftest": b"\xff"},
    )
    targets = ("aarch64-linux-gnu", "x86_64-linux-musl")
    assert command(*flags, *(word for target in targets for word in ("--native-target", target))).code == 0
    bundle = Bundle.open(Path("out"))
    for target in targets:
        assert {f"native/{target}/libmodel.a", f"native/{target}/selftest"} <= set(bundle.native)
        assert bundle.path(f"native/{target}/selftest").stat().st_mode & 0o100
    assert command(*flags).code == 0 and not Path("out", "native").exists()


@example([(1, 27, 34), *[(1, 1, 1)] * 4, (8, 19, 30)])  # the first is larger than its share
@given(st.lists(st.tuples(st.integers(1, 300), st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=8))
def test_self_test_is_bounded(sizes: list[tuple[int, int, int]]) -> None:
    cases = [
        GoldenCase(
            str(place), np.zeros((rows, steps, 4 * width), np.float32), np.ones((rows, steps, width)), 1e-9, stream=True
        )
        for place, (rows, steps, width) in enumerate(sizes)
    ]
    chosen = self_test_cases(cases, Tolerance())
    numbers = sum(case.inputs.size + 2 * case.outputs.size for case in chosen)
    assert chosen and (numbers <= 32768 or [len(case.inputs) for case in chosen] == [1])


def test_what_noise_drowns_is_not_compared() -> None:
    noise = np.array([1e-9, 1.0])
    (case,) = self_test_cases([GoldenCase("one", np.zeros((1, 3, 1), np.float32), np.ones((1, 2)), noise)], Tolerance())
    assert case.noise.tolist() == [[1e-9, -1.0]] and case.outputs.shape == (1, 1, 2)


def test_checkpoint_of_a_program_is_named_model(network: Checkpoint, tmp_path: Path) -> None:
    options = ExportOptions(native=True, engines=(), runtimes=("onnxruntime-cpu",))
    assert "native/model.h" in export(network, tmp_path / "bundle", options).bundle.native
