"""Runtime `native`: parity of bundles, buffers that it writes in place, and machines without a compiler."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from drnn_core.errors import RuntimeUnavailableError
from drnn_deploy.exporter.options import ExportOptions
from drnn_deploy.exporter.pipeline import export
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.native import compiler
from drnn_runtimes.native.compiler import load_library
from drnn_runtimes.registry import find_runtime
from tests.compilers import with_compiler
from tests.networks import make_case

pytestmark = pytest.mark.optional_runtimes("native")
SPECS = [
    ModelSpec("rnn", (5, 9), (1, 2), Continuous(2), Head("last", 3)),
    ModelSpec("gru", (9, 4), (2, 3), Tokens(5), Head("sequence", 2)),
    ModelSpec("lstm", (6,), (3,), Tokens(4, 2), Head("last_k", 2, 3)),
]


@pytest.fixture
def no_library_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DRNN_CACHE", str(tmp_path / "cache"))
    quick = [flag for flag in compiler._FLAGS if not flag.startswith("-O")]  # what is compiled here computes nothing
    monkeypatch.setattr(compiler, "_FLAGS", (*quick, "-O0"))
    load_library.cache_clear()
    yield
    load_library.cache_clear()


def exported(spec: ModelSpec, folder: Path, *forms: str, runtimes: tuple[str, ...] = ("native",)) -> Bundle:
    case = make_case(spec, 3, 12)
    chunk = 4 if "chunk" in forms else None
    length = 12 if "sequence" in forms else None
    options = ExportOptions(forms=forms, length=length, batch=3, chunk=chunk, engines=(), runtimes=runtimes)  # type: ignore[arg-type]
    result = export(case.checkpoint(), folder / "bundle", options)
    assert result.parity.passed, result.parity
    assert {row.runtime for row in result.parity.rows} == set(runtimes)
    return result.bundle


@with_compiler
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.short_name)
def test_every_form_passes_parity(spec: ModelSpec, tmp_path: Path) -> None:
    exported(spec, tmp_path, "sequence", "chunk", "step")


@with_compiler
@pytest.mark.parametrize("spaced", [False, True])
def test_bound_arrays_are_read_and_written_in_place(spaced: bool, tmp_path: Path) -> None:
    """Also those whose values do not lie one after another, which C is not given."""
    bundle, case = exported(SPECS[0], tmp_path, "sequence"), make_case(SPECS[0], 3, 12)
    samples = np.zeros((3, 12, 4 if spaced else 2), np.float32)[:, :, :: 2 if spaced else 1]
    outputs = np.full((3, 6 if spaced else 3), np.nan, np.float32)[:, :: 2 if spaced else 1]
    with find_runtime("native").load(bundle, bundle.graphs[0]) as session:
        call = session.bind({"input": samples}, {"output": outputs})
        for _ in range(2):
            samples[...] = case.inputs
            call()
            case.assert_within_noise(outputs)
            outputs[...] = np.nan


@with_compiler
def test_blocks_of_a_stream_are_its_steps(tmp_path: Path) -> None:
    spec = SPECS[0]
    bundle, inputs = exported(spec, tmp_path, "step"), make_case(spec, 2, 700).inputs
    with find_runtime("native").stream(bundle, batch=3) as stream:
        inputs = np.concatenate([inputs, inputs[:1]])
        singly = [stream.push(inputs[:, t : t + 1]) for t in range(700)]
        lines = stream.state().lines
        stream.reset()
        np.testing.assert_allclose(stream.push(inputs), np.concatenate(singly, axis=1), atol=1e-5)
        for name, line in stream.state().lines.items():
            np.testing.assert_allclose(line, lines[name], atol=1e-5)
        assert stream.push(inputs[:, :0]).shape == (3, 0, 3)
        assert stream.steps == 700


def test_a_machine_without_a_compiler_is_told_what_to_install(
    no_library_yet: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    available = find_runtime("native").availability()
    assert not available.usable
    assert "no C compiler" in available.detail
    assert "apt install gcc" in available.fix
    with pytest.raises(RuntimeUnavailableError, match="no C compiler"):
        load_library("DRNN_TANH")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 3", "cannot compile"),
        ('echo "drnn.h:1: error: no such wonder" >&2; exit 1', "no such wonder"),
        ("exec sleep 5", "does not work"),
        ("exit 0", "cannot be loaded"),
    ],
)
def test_a_compiler_that_fails_leaves_nothing(
    script: str, reason: str, no_library_yet: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "cc"
    fake.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setenv("CC", str(fake))
    monkeypatch.setattr(compiler, "_SECONDS", 0.5)
    with pytest.raises(RuntimeUnavailableError, match=reason) as refusal:
        load_library("DRNN_TANH")
    assert refusal.value.fix
    assert not list(tmp_path.rglob("*.so*"))


@with_compiler
def test_a_library_is_compiled_once_and_loaded_anew_when_damaged(
    no_library_yet: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_library("DRNN_TANH")
    (library,) = tmp_path.rglob("*.so")
    load_library.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(compiler, "_compile", lambda *_: pytest.fail("it was compiled again"))
        load_library("DRNN_TANH")
    load_library.cache_clear()
    damaged = tmp_path / "elsewhere" / "native" / library.name  # a loaded path would be taken for loaded
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"not a library")
    monkeypatch.setenv("DRNN_CACHE", str(tmp_path / "elsewhere"))
    load_library("DRNN_TANH")
    assert damaged.stat().st_size == library.stat().st_size


@pytest.mark.parametrize("options", [["-m64"], ["-O0", "-g"]])
def test_the_compiler_may_have_options(options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(name for name in ("cc", "gcc", "clang") if shutil.which(name))
    monkeypatch.setenv("CC", shlex.join([name, *options]))
    assert compiler.compiler() == [shutil.which(name), *options]


@pytest.mark.parametrize("name", ["it's", "no-such", "no such"])
def test_a_compiler_that_is_not_there_is_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", name)
    assert compiler.compiler() == []


def test_a_compilers_path_may_have_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "a folder" / "cc"
    program.parent.mkdir()
    program.write_text("#!/bin/sh", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("CC", str(program))
    assert compiler.compiler() == [str(program)]
