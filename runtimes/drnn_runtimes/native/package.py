"""The folder `native/` of a bundle: a network as C sources that need a compiler and nothing else."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_core.licence import SENTENCES, SPDX, licensed
from drnn_models.spec import ModelSpec, Tokens
from drnn_models.weights import Weights
from drnn_runtimes.native.compiler import KERNEL
from drnn_runtimes.native.network import PackedNetwork, pack_network, padded
from drnn_runtimes.native.sizes import MemorySizes

_TEMPLATES = {  # file -> its template
    "@NAME@.h": "network.h",
    "@NAME@.c": "network.c",
    "@NAME@_network.h": "network_data.h",
    "@NAME@.hpp": "network.hpp",
    "example.c": "example.c",
    "selftest.c": "selftest.c",
    "CMakeLists.txt": "CMakeLists.txt",
}
_README = "README.md"
_TOKEN_CHECK = """    for (long i = 0; i < steps; i++)
        if (x[i] < 0 || x[i] >= {}) return 0;
"""
_NUMBERS_A_LINE = 8
_MOST_WIDTHS = 4  # of layers that get code of their own, which takes a compiler up to a second each


@dataclasses.dataclass(frozen=True)
class SelfTestCase:
    """Inputs with the outputs that the self-test compares with.

    Attributes:
        name: For example "normal".
        inputs: (B, T, C) float32 or tokens (B, T).
        outputs: (B, k, outputs) float64, of the last k steps.
        noise: (k, outputs), what float32 rounding does to an output; below 0 where that tells nothing.
    """

    name: str
    inputs: NDArray[np.generic]
    outputs: NDArray[np.float64]
    noise: NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class NativePackage:
    """A network as C sources.

    Attributes:
        name: What all its public names begin with.
        sources: File name -> text.
        weight_bytes: Of the weights, in the order of reading and with their padding.
        sizes: Of the memory that the functions take.
    """

    name: str
    sources: dict[str, str]
    weight_bytes: int
    sizes: MemorySizes

    def readme(self, spec: ModelSpec, length: int, code: str) -> str:
        """Write README.md.

        Args:
            spec: The network.
            length: The time steps of a usual sequence.
            code: The size of the compiled code, or why it is not known.
        """
        words = {
            **_words(self.name, spec, self.sizes),
            "WEIGHTS": f"{self.weight_bytes:,}",
            "CODE": code,
            "STREAM_ONE": f"{self.sizes.stream(1):,}",
            "PUSH_ONE": f"{self.sizes.push(1):,}",
            "LENGTH": f"{length:,}",
            "RUN_ONE": f"{self.sizes.run(1, length):,}",
            "LICENCE": "\n".join((*SENTENCES, "", f"`{SPDX}`")),
        }
        return _filled(_README, words)


def native_package(
    name: str,
    spec: ModelSpec,
    weights: Weights,
    cases: Sequence[SelfTestCase],
    noise_multiple: float,
    *,
    narrow: bool = False,
) -> NativePackage:
    """Write a network as C: the kernel, the weights, an API, an example and a self-test.

    Args:
        name: A C identifier that `c_name` gives.
        spec: The network.
        weights: Name -> array, in torch's gate order.
        cases: What the self-test compares with, at least one.
        noise_multiple: The largest error that passes, in noises.
        narrow: Whether the weights are int8.
    """
    packed = pack_network(spec, weights, narrow=narrow)
    sizes = MemorySizes.of(spec, packed)
    words = _words(name, spec, sizes) | _data_words(name, packed)
    sources = {file.replace("@NAME@", name): _filled(template, words) for file, template in _TEMPLATES.items()}
    sources |= {file: (resources.files(__package__) / file).read_text(encoding="utf-8") for file in KERNEL}
    sources["golden.h"] = _golden(name, cases, noise_multiple)
    sources = {file: licensed(text, "#" if file.endswith(".txt") else "//") for file, text in sources.items()}
    return NativePackage(name, sources, packed.weights.nbytes + packed.biases.nbytes, sizes)


def _words(name: str, spec: ModelSpec, sizes: MemorySizes) -> dict[str, str]:
    """What stands in the templates for @WORD@."""
    tokens, last = isinstance(spec.input, Tokens), spec.head.steps
    refused = "x holds a token that is none, or n is below 1" if tokens else "n is below 1"
    refuses = f"Where {refused}, it returns 0 and does nothing."
    macro = name.upper()
    return {
        "NAME": name,
        "MACRO": macro,
        "WHAT": spec.short_name,
        "TYPE": "int" if tokens else "float",
        "SAMPLE": "1" if tokens else str(spec.input.width),
        "SAMPLES": f"int32 tokens, 0 to {spec.input.vocabulary - 1}" if isinstance(spec.input, Tokens) else "float32",
        "OUTPUTS": str(spec.head.outputs),
        "ANSWERS": "(n)" if spec.head.kind == "sequence" else f"((n) < {last} ? (n) : {last})" if last > 1 else "1",
        "REFUSES": refuses,
        "CHECK": _TOKEN_CHECK.format(spec.input.vocabulary) if isinstance(spec.input, Tokens) else "",
        **sizes.macros(macro),
    }


def _filled(template: str, words: dict[str, str]) -> str:
    text = (resources.files(__package__) / "templates" / template).read_text(encoding="utf-8")
    return re.sub(r"@(\w+)@", lambda match: words[match[1]], text)


def _data_words(name: str, packed: PackedNetwork) -> dict[str, str]:
    """What stands in NAME_network.h. The bits of floats are half as long as their hexadecimal digits, and as exact."""
    widths = sorted({layer.hidden for layer in packed.layers})
    listed = " ".join(f"X({hidden})" for hidden in widths)
    weights, biases = f"{name}_weights{'' if packed.narrow else '.values'}", f"{name}_biases.values"
    layers = (
        f"{at.inputs}, {at.hidden}, {at.dilation}, {weights} + {at.weights}, {biases} + {at.biases}"
        for at in packed.layers
    )
    return {
        "CELL": packed.cell,
        "WIDTHS": f"#define DRNN_WIDTHS(X) {listed}\n" if len(widths) <= _MOST_WIDTHS else "",
        "INT8": "#define DRNN_INT8\n" if packed.narrow else "",
        "ARRAYS": _array(f"{name}_weights", packed.weights) + "\n" + _array(f"{name}_biases", packed.biases),
        "LAYERS": "\n".join(f"    {{{layer}}}," for layer in layers),
        "SIZES": "\n".join(f"    .{field} = {size}," for field, size in packed.sizes.items()),
        "HEAD_BLOCKS": str(padded(packed.sizes["outputs"]) // 8),
        "HEAD": f"{weights} + {packed.head[0]}",
        "HEAD_BIASES": f"{biases} + {packed.head[1]}",
        "TABLE": f"{biases} + {packed.table}",
    }


def _array(name: str, values: NDArray[np.float32] | NDArray[np.int8]) -> str:
    """The definition of a constant array."""
    size = values.size
    if values.dtype == np.int8:
        return f"static const _Alignas(64) int8_t {name}[{size}] = {{\n{_listed(values, str)}\n}};\n"
    union = (
        f"static const _Alignas(64) union {{\n    uint32_t bits[{size}];\n    float values[{size}];\n}} {name} = {{{{\n"
    )
    return f"{union}{_listed(values.view(np.uint32), hex)}\n}}}};\n"


def _golden(name: str, cases: Sequence[SelfTestCase], noise_multiple: float) -> str:
    """golden.h."""
    arrays, rows = [], []
    for index, case in enumerate(cases):
        (batch, length), answered = case.inputs.shape[:2], case.outputs.shape[1]
        for kind, letter, values, shown in (
            (f"{name}_sample", "x", case.inputs, str if case.inputs.dtype.kind == "i" else _float),
            ("double", "y", case.outputs, repr),
            ("double", "noise", case.noise, repr),
        ):
            arrays.append(f"static const {kind} golden_{letter}{index}[] = {{\n{_listed(values, shown)}\n}};\n")
        pointers = f"golden_x{index}, golden_y{index}, golden_noise{index}"
        rows.append(f'    {{"{case.name}", {batch}, {length}, {answered}, {pointers}}},\n')
    return (
        "/* Inputs, and what float64 makes of them: golden data of the bundle, for selftest.c. */\n"
        f"#define GOLDEN_NOISES {noise_multiple!r} /* up to which an error passes */\n\n"
        f"{''.join(arrays)}\nstatic const struct golden_case golden_cases[] = {{\n{''.join(rows)}}};\n"
    )


def _float(value: float) -> str:
    return f"{value.hex()}f"


def _listed(values: NDArray[Any], shown: Callable[[Any], str]) -> str:
    flat = values.reshape(-1)
    lines = (flat[start : start + _NUMBERS_A_LINE].tolist() for start in range(0, flat.size, _NUMBERS_A_LINE))
    return ",\n".join(",".join(map(shown, line)) for line in lines)
