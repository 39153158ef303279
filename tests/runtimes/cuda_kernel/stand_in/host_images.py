"""Images that the stand-in for libcuda runs: the kernel's host build as a library, with the sizes of its arrays."""

from __future__ import annotations

import functools
import math
import subprocess
import tempfile
from pathlib import Path

from drnn_models.spec import ModelSpec
from drnn_runtimes.cuda_kernel.constants import constants, read_source
from drnn_runtimes.cuda_kernel.host_build import cpp_compiler
from drnn_runtimes.cuda_kernel.plan import KernelPlan
from tests.nightly import NIGHTLY

_FLAGS = (
    "-std=c++17",
    "-O1" if NIGHTLY else "-O0",
    "-shared",
    "-fPIC",
    "-fno-strict-aliasing",
    "-fvisibility=hidden",
    "-w",
)


@functools.cache
def library(source: Path, name: str, folder: Path) -> Path:
    """Compile a C++ file of this folder."""
    made = folder / name
    compiler = cpp_compiler()
    assert compiler
    subprocess.run([compiler, *_FLAGS, "-o", str(made), str(source), "-ldl"], check=True)
    return made


# A GPU's clocks are not here: a kernel that is not the network's does nothing but count.
_PLAIN = """
extern "C" __attribute__((visibility("default"))) void empty(void**) {}
extern "C" __attribute__((visibility("default"))) void clocks(void** p) {
  ((long long*)*p)[0] = 3, ((long long*)*p)[1] = 2;
}
"""


def host_image(plan: KernelPlan, architecture: str, source: str | None = None) -> bytes:
    """What `compile_kernel` would give, for the stand-in."""
    sources = (constants(plan), read_source("host_shim.h"), read_source("drnn.cu"), read_source("host_launch.h"))
    return _built(_PLAIN if source else "\n".join([*sources, _needs(plan)]))


def _built(text: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.cpp"
        source.write_text(text, encoding="utf-8")
        return library(source, "kernel.so", Path(folder)).read_bytes()


def _needs(plan: KernelPlan) -> str:
    """The bytes of each array of a launch, from the network itself where that says them."""
    spec = plan.spec
    grid = f"((batch + {plan.options.rows - 1}) / {plan.options.rows})"
    state = f"{4 * _state_values(spec)}LL * batch"
    sizes = [
        f"{4 * spec.input.width}LL * batch * steps",
        f"{plan.weight_bytes}LL",
        *(state, state),
        f"{4 * plan.workspace}LL * {grid}",
        f"{4 * spec.hidden[-1]}LL * batch * answers",
    ]
    lines = "".join(f"    needs[{index}] = {size};\n" for index, size in enumerate(sizes))
    head = 'extern "C" __attribute__((visibility("default"))) void drnn_needs'
    return f"{head}(int batch, int steps, int answers, long long* needs) {{\n{lines}}}\n"


def _state_values(spec: ModelSpec) -> int:
    return sum(math.prod(shape) for name, shape in spec.state_shapes(1).items() if name != "fusion")
