"""The C sources of a network: compiled as its README says, and compared with the reference."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drnn_core.licence import SENTENCES, SPDX
from drnn_core.types import Precision
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.native.compiler import compiler
from drnn_runtimes.native.package import SelfTestCase, native_package
from tests.compilers import with_compiler
from tests.networks import Case, make_case, specs
from tests.nightly import NIGHTLY
from tests.runtimes.native.packages import ONE_KERNEL, WARNINGS, built, ran, self_test_case, write_package

pytestmark = with_compiler

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs" / "native.md"
PLAIN = ModelSpec("rnn", (9,), (3,), Continuous(2), Head("last", 3))  # with a window
TOKENS = ModelSpec("gru", (5,), (1,), Tokens(6), Head("last_k", 2, 4))
NETWORKS = [
    PLAIN,
    TOKENS,
    ModelSpec("lstm", (9, 5), (2, 1), Tokens(4, 3), Head("sequence", 3)),
    ModelSpec("gru", (8, 3), (1, 2), Continuous(1), Head("last", 1), reset="before"),
]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path]:
    """A network and its folder, compiled as a library."""
    folder = tmp_path_factory.mktemp("plain")
    case = make_case(PLAIN, 3, 40)
    write_package(folder, "plain", case)
    built(folder, "plain.c", "plain.o", "-O0", "-c", *ONE_KERNEL)
    return case, folder


def test_every_file_says_its_licence_once(plain: tuple[Case, Path]) -> None:
    written = sorted(path for path in plain[1].iterdir() if path.suffix != ".o")
    assert len(written) >= 10
    for path in written:
        text = path.read_text(encoding="utf-8")
        assert text.count(SPDX) == 1, path.name
        assert all(sentence in text for sentence in SENTENCES), path.name


def test_example_prints_what_the_reference_says(plain: tuple[Case, Path], tmp_path: Path) -> None:
    case, folder = plain
    subprocess.run([*compiler(), "-O3", "example.c", "-o", tmp_path / "example"], cwd=folder, check=True)
    one = Case(PLAIN, case.weights, case.inputs[:1])
    lines = ran(tmp_path / "example", input=one.inputs.tobytes() + b"\0\0\0").splitlines()  # and half a sample
    assert len(lines) == 40
    one.assert_within_noise(np.array(lines[-1].split(), np.float32)[None])
    shorter = Case(PLAIN, case.weights, one.inputs[:, :7])
    shorter.assert_within_noise(np.array(lines[6].split(), np.float32)[None])


@pytest.mark.parametrize(
    "spec", [pytest.param(s, marks=pytest.mark.nightly if s in NETWORKS[1:] else ()) for s in NETWORKS], ids=str
)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_self_test_passes_and_fails_where_a_weight_is_another(
    spec: ModelSpec, precision: Precision, tmp_path: Path
) -> None:
    case = make_case(spec, 3, 40)
    write_package(tmp_path, "net", case, precision)
    flags = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all") if NIGHTLY else ("-O0",)
    said = ran(built(tmp_path, "selftest.c", "selftest", *flags, *ONE_KERNEL, *WARNINGS))
    assert said.startswith("random       3 x 40 steps: whole ") and "\nPASSED net: " in said
    assert re.search(r" [1-9]\d* outputs compared, 0 wrong,", said)
    network = tmp_path / "net_network.h"
    bits = network.read_text(encoding="utf-8")
    first = re.search(r"(?<=_weights)(.*?\n)([^,{]+)(?=,)", bits, re.S)
    assert first
    other = "0x40a00000" if precision == "fp32" else "-127" if int(first[2]) > 0 else "127"  # another by far
    network.write_text(bits[: first.start(2)] + other + bits[first.end(2) :], encoding="utf-8")
    assert "\nFAILED net: " in ran(built(tmp_path, "selftest.c", "selftest", "-O0", *ONE_KERNEL), code=1)


@pytest.mark.parametrize(
    "cell", ["lstm", pytest.param("gru", marks=pytest.mark.nightly), pytest.param("rnn", marks=pytest.mark.nightly)]
)
def test_layers_in_turn_stay_in_their_memory(cell: Literal["rnn", "gru", "lstm"], tmp_path: Path) -> None:
    """One sequence whose layers take turns, over lengths that end anywhere in a round; with several they do not."""
    spec = ModelSpec(cell, (9, 9, 9), (1, 2, 4), Continuous(1), Head("last", 2))
    write_package(tmp_path, "net", make_case(spec, 1, 5))
    sanitizers = "address,undefined" if NIGHTLY else "address"  # undefined takes three times as long to compile
    flags = ("-O0", "-g", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-I", str(tmp_path))
    program = built(tmp_path, str(HERE / "exact.c"), "exact", *flags, *ONE_KERNEL, *WARNINGS, "-lm")
    assert float(ran(program)) < 1e-5


def test_self_test_fails_on_wrong_sizes_of_memory(plain: tuple[Case, Path], tmp_path: Path) -> None:
    shutil.copytree(plain[1], tmp_path, dirs_exist_ok=True)
    header = tmp_path / "plain.h"
    text = header.read_text(encoding="utf-8")
    header.write_text(text.replace("_STREAM_BYTES(batch) (", "_STREAM_BYTES(batch) (4 + "), encoding="utf-8")
    assert "FAILED plain" in ran(built(tmp_path, "selftest.c", "selftest", "-O0", *ONE_KERNEL), code=1)


@pytest.mark.parametrize("flag", ["-ffast-math", "-Ofast", "-ffinite-math-only"])
def test_flags_that_give_wrong_numbers_are_refused(flag: str, plain: tuple[Case, Path]) -> None:
    command = [*compiler(), "-fsyntax-only", flag, *ONE_KERNEL, "plain.c"]
    done = subprocess.run(command, cwd=plain[1], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "plain.c gives wrong numbers with -ffast-math" in done.stderr


@pytest.mark.parametrize("flags", [
    ("-funsafe-math-optimizations",), ("-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math"),
])  # fmt: skip
def test_flags_that_let_sums_be_reordered_do_no_harm(
    flags: tuple[str, ...], plain: tuple[Case, Path], tmp_path: Path
) -> None:
    told = subprocess.run([*compiler(), "--version"], capture_output=True, text=True, check=True)
    if "clang" in told.stdout:
        pytest.skip("of gcc")
    shutil.copytree(plain[1], tmp_path, dirs_exist_ok=True)
    assert "FAILED" not in ran(built(tmp_path, "selftest.c", "selftest", "-O3", *flags, *ONE_KERNEL))


def test_self_test_does_not_compare_what_noise_drowns(tmp_path: Path) -> None:
    case = make_case(PLAIN, 1, 9)
    right = self_test_case(case)
    wrong = SelfTestCase("wrong", right.inputs, right.outputs + 1.0, np.full_like(right.noise, -1.0))
    for name, text in native_package("net", PLAIN, case.weights, [wrong], 8.0).sources.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    said = ran(built(tmp_path, "selftest.c", "selftest", "-O0", *ONE_KERNEL), code=1)
    assert "FAILED net: 0 outputs compared, 0 wrong" in said


def test_two_networks_link_into_one_program_that_allocates_nothing(plain: tuple[Case, Path], tmp_path: Path) -> None:
    """`two.c` holds both in one source and traps every allocation while they run."""
    case, folder = plain
    tokens = make_case(TOKENS, 2, 9)
    write_package(tmp_path, "tokens", tokens)
    flags = ("-O0", "-I", str(folder), "-I", str(tmp_path), *ONE_KERNEL, *WARNINGS)
    program = built(tmp_path, str(HERE / "two.c"), "two", *flags)
    lines = ran(program, input=case.inputs.tobytes() + tokens.inputs.astype(np.int32).tobytes()).splitlines()
    outputs = [np.array(line.split(), np.float32) for line in lines]
    case.assert_within_noise(outputs[0].reshape(3, 3))
    case.assert_within_noise(outputs[1].reshape(3, 3))
    tokens.assert_within_noise(outputs[2].reshape(2, 4, 2))
    assert lines[3:] == ["0 0 0 0 1"], "tokens beyond the vocabulary, a run of none, a stream of none, no steps"
    assert "an allocation" in ran(program, "allocate", code=3)


def test_wrapper_of_cplusplus(plain: tuple[Case, Path], tmp_path: Path) -> None:
    case, folder = plain
    if not shutil.which("g++"):
        pytest.skip("g++ is not installed")
    flags = ["-std=c++17", "-O0", *WARNINGS, "-I", str(folder), str(folder / "plain.o"), "-o", "wrapper"]
    subprocess.run(["g++", str(HERE / "wrapper.cpp"), *flags], cwd=tmp_path, check=True)
    lines = ran(tmp_path / "wrapper", input=case.inputs.tobytes()).splitlines()
    for line in lines[:2]:
        case.assert_within_noise(np.array(line.split(), np.float32).reshape(3, 3))
    assert lines[2:] == ["0 0 0 0 0 1 0 0 1 1"]


@pytest.mark.skipif(not shutil.which("nm"), reason="binutils are not installed")
def test_compiled_code_needs_memcpy_and_memset_and_gives_four_functions_without_variables(
    plain: tuple[Case, Path],
) -> None:
    def told(*command: str) -> str:
        return subprocess.run([*command, "plain.o"], cwd=plain[1], capture_output=True, text=True, check=True).stdout

    assert set(told("nm", "-j", "-u").split()) - {"_GLOBAL_OFFSET_TABLE_", "__cpu_model"} <= {"memcpy", "memset"}
    functions = {"plain_init", "plain_push", "plain_run", "plain_step"}
    assert set(told("nm", "-j", "-g", "--defined-only").split()) == functions
    sections = dict(re.findall(r"^(\S+) +(\d+) ", told("size", "-A", "-d"), re.MULTILINE))
    assert sections[".data"] == sections[".bss"] == "0"


@pytest.mark.nightly
@settings(max_examples=25)
@given(specs(), st.integers(0, 1000))
def test_self_tests_of_random_networks_pass(spec: ModelSpec, number: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_package(Path(folder), "net", make_case(spec, 1 + number % 3, 1 + number % 70, number))
        flags = ("-O0", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
        said = ran(built(Path(folder), "selftest.c", "selftest", *flags, *ONE_KERNEL, *WARNINGS))
    assert "\nPASSED net: " in said


@pytest.mark.nightly
@pytest.mark.parametrize(("language", "standard"), [("c", "c11"), ("cpp", "c++17")])
def test_programs_of_the_page_compile(language: str, standard: str, tmp_path: Path) -> None:
    program = "\n".join(re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
    write_package(tmp_path, "mnist", make_case(PLAIN, 1, 5))
    (tmp_path / f"program.{language}").write_text(program, encoding="utf-8")
    built(tmp_path, f"program.{language}", "program.o", f"-std={standard}", "-c", *ONE_KERNEL, *WARNINGS)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["gcc", "clang"])
def test_cmake_builds_tests_and_installs(name: str, plain: tuple[Case, Path], tmp_path: Path) -> None:
    for needed in ("cmake", name, f"{name.replace('gcc', 'g')}++"):
        if not shutil.which(needed):
            pytest.skip(f"{needed} is not installed")
    folder, use = plain[1], tmp_path / "use"
    cmake = ["cmake", f"-DCMAKE_C_COMPILER={name}", f"-DCMAKE_CXX_COMPILER={name.replace('gcc', 'g')}++"]

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(*cmake, "-S", str(folder), "-B", "build", f"-DCMAKE_INSTALL_PREFIX={tmp_path / 'there'}")
    run("cmake", "--build", "build")
    assert "100% tests passed, 0 tests failed out of 1" in run("ctest", "--test-dir", "build")
    run("cmake", "--install", "build")
    use.mkdir()
    (use / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(use LANGUAGES CXX)\nfind_package(plain REQUIRED)\n"
        f"add_executable(use {HERE / 'wrapper.cpp'})\ntarget_link_libraries(use PRIVATE plain::plain_cpp)\n",
        encoding="utf-8",
    )
    run(*cmake, "-S", str(use), "-B", "use/build", f"-DCMAKE_PREFIX_PATH={tmp_path / 'there'}")
    run("cmake", "--build", "use/build")
    assert ran(tmp_path / "use" / "build" / "use", input=plain[0].inputs.tobytes())
