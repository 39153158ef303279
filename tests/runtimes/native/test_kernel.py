"""The compiled network against the float64 loop: random networks, whole and in pieces; its activations over float32."""

from __future__ import annotations

import dataclasses
import gc
import shutil
import subprocess
import weakref
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from drnn_core.errors import InputError
from drnn_core.types import Precision
from drnn_deploy.parity.tolerance import NOISE_MULTIPLE
from drnn_models.cone import plan_cone
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.native.compiler import KERNEL, compiler
from drnn_runtimes.native.kernel import Kernel, KernelStream, aligned, pointer
from drnn_runtimes.native.network import cell_name
from drnn_runtimes.reference.loop import run_reference
from drnn_runtimes.reference.low_precision import graph_weights
from tests.compilers import with_compiler
from tests.networks import Case, make_case, random_inputs, random_weights, specs
from tests.nightly import NIGHTLY
from tests.runtimes.native.packages import WARNINGS

pytestmark = with_compiler

MNIST = ModelSpec("gru", (20,) * 9, tuple(2**n for n in range(9)), Continuous(1), Head("last", 10))
BY_DAY = [  # every cell, input and head, with and without fusion, blocks of units that are full and that are not
    ModelSpec("rnn", (7, 9), (1, 3), Continuous(2), Head("last", 3)),
    ModelSpec("rnn", (20, 20, 20), (2, 4, 8), Tokens(5, 3), Head("last_k", 9, 4), activation="relu"),
    ModelSpec("gru", (33,), (5,), Tokens(6), Head("sequence", 8)),
    ModelSpec("gru", (8, 3), (1, 2), Continuous(1), Head("last", 1), reset="before"),
    ModelSpec("lstm", (17, 8), (3, 2), Continuous(3), Head("last", 4)),
    ModelSpec("lstm", (20, 20), (1, 2), Tokens(4), Head("sequence", 2)),
    ModelSpec("lstm", (9, 9, 9), (1, 2, 4), Continuous(1), Head("last", 2)),  # one sequence: two layers in turn
    ModelSpec("lstm", (52,), (1,), Continuous(1), Head("last", 2)),  # weights beyond the first cache, uneven blocks
]


def check(spec: ModelSpec, number: int, precision: Precision = "fp32") -> None:
    random = np.random.default_rng(number)
    weights = graph_weights(random_weights(spec, number), precision)
    kernel = Kernel(spec, random_weights(spec, number), narrow=precision == "int8")
    for batch, length in ((1, int(random.integers(1, 40))), (1, 199), (int(random.integers(2, 9)), 30), (3, 270)):
        every = dataclasses.replace(spec, head=Head("sequence", spec.head.outputs))
        case = Case(every, weights, random_inputs(spec, batch, length, number))
        right, lines, start = case.answer(), {}, 0
        limit = NOISE_MULTIPLE * right.noises["fp32"]
        answered = slice(length - spec.head.output_steps(length), length)
        assert np.all(np.abs(kernel.run(case.inputs) - right.outputs[:, answered]) <= limit[answered])
        while start < length:
            steps = min(int(random.choice([1, 1, 2, 3, 7, 50])), length - start)
            stream = KernelStream(kernel, case.inputs[:, start : start + steps])
            if lines:
                stream.set_lines(lines)
            outputs, end = stream.run(), start + steps
            answered = slice(end - spec.head.output_steps(steps), end)
            assert np.all(np.abs(outputs - right.outputs[:, answered]) <= limit[answered])
            lines, start = stream.lines(), end
        fed = case.inputs[:, :1].copy()
        stream = KernelStream(kernel, fed)
        for step in range(length):  # of a stream that goes on: its rings turn
            fed[...] = case.inputs[:, step : step + 1]
            assert np.all(np.abs(stream.run()[:, 0] - right.outputs[:, step]) <= limit[step])
        for name, line in run_reference(spec, case.weights, case.inputs).state.items():
            np.testing.assert_allclose(lines[name], line, atol=1e-3 * max(1, np.abs(line).max()))  # of relu it grows


@pytest.mark.parametrize("spec", BY_DAY if NIGHTLY else [*BY_DAY[1:4], *BY_DAY[5:]], ids=lambda spec: spec.short_name)
@pytest.mark.parametrize("precision", ["fp32", pytest.param("int8", marks=pytest.mark.nightly)])
def test_network_is_the_reference_whole_and_in_pieces(spec: ModelSpec, precision: Precision) -> None:
    check(spec, len(spec.hidden), precision)


@pytest.mark.parametrize(
    "spec", [BY_DAY[3], pytest.param(BY_DAY[4], marks=pytest.mark.nightly)], ids=lambda spec: spec.short_name
)
def test_weights_in_int8(spec: ModelSpec) -> None:
    check(spec, len(spec.hidden), "int8")


@settings(max_examples=300 if NIGHTLY else 5)
@given(specs(), st.integers(0, 1000), st.sampled_from(["fp32", "int8"]))
def test_random_networks_are_the_reference(spec: ModelSpec, number: int, precision: Precision) -> None:
    state = run_reference(spec, random_weights(spec, number), random_inputs(spec, 3, 270, number)).state
    assume(all(np.abs(line).max() < 1e30 for line in state.values()))  # relu may grow beyond float32
    check(spec, number, precision)


def test_only_what_reaches_the_output_is_computed() -> None:
    """The plan of a run lies in its scratch memory: the steps of every layer, one after another."""
    kernel, length = Kernel(MNIST, random_weights(MNIST, 0)), 784
    scratch = aligned(kernel.library.native_run_size(kernel.network, 1, length))
    x, y = np.zeros((1, length, 1), np.float32), np.zeros((1, 1, 10), np.float32)
    kernel.library.native_run(kernel.network, pointer(x), 1, length, pointer(y), pointer(scratch))
    ints, counts = scratch.view(np.int32), [layer.steps for layer in plan_cone(MNIST, length).layers]
    plan = ints[-(length + 5) * (MNIST.layers + 2) :]  # of a layer, five numbers: the first one is its steps
    assert plan[: 5 * MNIST.layers : 5].tolist() == counts and sum(counts) == 1568


def test_tokens_beyond_the_vocabulary_are_refused() -> None:
    kernel = Kernel(BY_DAY[2], random_weights(BY_DAY[2], 0))
    for token in (-1, 6):
        with pytest.raises(InputError, match="tokens must be 0 to 5"):
            kernel.run(np.full((1, 3), token))
        with pytest.raises(InputError, match="tokens must be 0 to 5"):
            KernelStream(kernel, np.full((1, 3), token))


def test_relu_keeps_infinity_and_nan() -> None:
    """A sum beyond float32 must not come out as a number that looks right."""
    spec = ModelSpec("rnn", (1,), (1,), Continuous(1), Head("sequence", 1), activation="relu")
    weights = {name: np.full_like(values, "weight" in name) for name, values in random_weights(spec, 0).items()}
    kernel, samples = Kernel(spec, weights), np.array([3e38, 3e38, 0, np.nan, 0], np.float32).reshape(1, -1, 1)
    right = np.array([3e38, np.inf, np.inf, np.nan, np.nan], np.float32)
    np.testing.assert_array_equal(kernel.run(samples)[0, :, 0], right)
    np.testing.assert_array_equal(
        [KernelStream(kernel, samples[:, :1]).run()[0, 0, 0], *KernelStream(kernel, samples).run()[0, 1:, 0]], right
    )


@pytest.mark.parametrize("compiler_name", ["gcc", "clang"] if NIGHTLY else ["gcc"])  # clang takes longer
@pytest.mark.parametrize("cell", sorted({cell_name(spec) for spec in BY_DAY}))
@pytest.mark.parametrize("weights", ["-DDRNN_FLOAT", "-DDRNN_INT8"])
def test_compilers_have_nothing_to_warn_of(compiler_name: str, cell: str, weights: str, tmp_path: Path) -> None:
    command = written(tmp_path, compiler_name)
    thorough = ["-O1", "-c", "-o", "library.o"] if NIGHTLY else ["-fsyntax-only", "-march=native", "-DDRNN_NATIVE"]
    flags = ["-std=c11", f"-DDRNN_CELL={cell}", weights, *WARNINGS, *thorough]
    done = subprocess.run([*command, *flags, "library.c"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]


@pytest.mark.parametrize("compiler_name", ["", "clang"])
def test_activations_are_within_four_units_in_the_last_place(compiler_name: str, tmp_path: Path) -> None:
    command = written(tmp_path, compiler_name)
    source, stride = Path(__file__).with_name("activations.c"), 1 if NIGHTLY else 1009
    subprocess.run(
        [*command, "-std=gnu11", "-O2", "-w", f"-DSTRIDE={stride}", "-I.", "-o", "activations", str(source), "-lm"],
        cwd=tmp_path,
        check=True,
    )
    lines = subprocess.run([tmp_path / "activations"], capture_output=True, text=True, check=True).stdout.splitlines()
    (tanh, tiny_tanh, lost), (sigmoid, tiny, lost_too) = (map(float, line.split()) for line in lines)
    assert tanh <= 4 and sigmoid <= 4 and lost == lost_too == 0
    assert tiny_tanh <= 1.01 * 2.0**-126 and tiny <= 1.01 * np.exp(-60.0)


def written(folder: Path, name: str) -> list[str]:
    """The command of a compiler, with the kernel's sources in a folder."""
    if name and not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    for file in (*KERNEL, "library.c"):
        text = (resources.files("drnn_runtimes.native") / file).read_text(encoding="utf-8")
        (folder / file).write_text(text, encoding="utf-8")
    return [name] if name else compiler()


def test_a_bound_call_keeps_the_network() -> None:
    """Its weights, too, which the C code has by their addresses alone."""
    case = make_case(ModelSpec("gru", (9, 7), (1, 2), Continuous(2), Head("last", 3)), 2, 12)

    def bound() -> tuple[Callable[[], None], weakref.ref[Kernel]]:
        kernel = Kernel(case.spec, case.weights)
        return kernel.bind(kernel.samples(case.inputs), outputs), weakref.ref(kernel)

    outputs = np.zeros((2, 1, 3), np.float32)
    call, kernel = bound()
    gc.collect()
    assert kernel() is not None
    call()
    case.assert_within_noise(outputs[:, 0])
    del call
    gc.collect()
    assert kernel() is None
