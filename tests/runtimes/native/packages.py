"""C sources of networks, written, compiled and run by tests."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import numpy as np

from drnn_core.types import Precision
from drnn_models.spec import Head
from drnn_runtimes.native.compiler import compiler
from drnn_runtimes.native.package import NativePackage, SelfTestCase, native_package
from drnn_runtimes.reference.low_precision import graph_weights
from drnn_runtimes.reference.noise import answer
from tests.networks import Case

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")
ONE_KERNEL = ("-march=native", "-DDRNN_NATIVE")  # that of this processor, which takes a third of the time


def self_test_case(case: Case) -> SelfTestCase:
    """Inputs with right outputs of all steps that the head answers, and their noise."""
    told = answer(case.spec, case.weights, case.inputs, ())
    outputs = told.outputs if told.outputs.ndim == 3 else told.outputs[:, None]
    noise = np.broadcast_to(told.noises["fp32"], told.outputs.shape[1:]).reshape(outputs.shape[1:])
    return SelfTestCase("random", case.inputs, outputs, noise)


def write_package(folder: Path, name: str, case: Case, precision: Precision = "fp32") -> NativePackage:
    """Write the sources; the self-test knows every step's outputs."""
    spec = dataclasses.replace(case.spec, head=Head("sequence", case.spec.head.outputs))
    tests = [self_test_case(Case(spec, graph_weights(case.weights, precision), case.inputs))]
    package = native_package(name, case.spec, case.weights, tests, 8.0, narrow=precision == "int8")
    for file, text in package.sources.items():
        (folder / file).write_text(text, encoding="utf-8")
    return package


def built(folder: Path, source: str, program: str, *flags: str) -> Path:
    """Compile a source of the folder."""
    command = [*compiler(), "-o", program, source, *flags]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]
    return folder / program


def ran(program: Path, *words: str, input: bytes = b"", code: int = 0) -> str:
    """What a program writes, which must end with `code`."""
    done = subprocess.run([program, *words], input=input, capture_output=True, check=False)
    assert done.returncode == code, (done.stdout + done.stderr)[:2000]
    return done.stdout.decode() + done.stderr.decode()
