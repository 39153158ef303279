"""Small types that tasks, export and runtimes share. Needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # the commands' options need these types before anything heavy is imported
    import numpy as np
    from numpy.typing import NDArray

# fused: one ONNX operator per layer. unrolled: nodes for every step, with static shapes. mixed: long, narrow layers as
# operators and short, wide ones unrolled. skewed: all layers of a step as one batched product, layer l is l steps late.
# blocked: a loop over blocks of unrolled steps for each long layer. plugin: all layers as one node of a local function,
# whose body is as fused, and whose place a plugin of TensorRT takes.
Emission = Literal["fused", "unrolled", "mixed", "skewed", "blocked", "plugin"]
STYLES: dict[str, str] = {"fused": "operator", "skewed": "pipelined"}  # in files -> for people, where they differ
Precision = Literal["fp32", "fp16", "bf16", "int8"]  # see `PRECISIONS`
FLOAT64: Literal["fp64"] = "fp64"  # the reference's own arithmetic, which no graph has
Form = Literal["sequence", "chunk", "step"]  # whole sequences from zero, or n steps or one with states in and out
SMALLER: dict[Form, str] = {"sequence": "a smaller --length", "chunk": "a smaller --chunk", "step": "fewer units"}


@dataclasses.dataclass(frozen=True)
class PrecisionInfo:
    """What a precision of matrix products decides. All else in a graph is float32 (`drnn_export.emitter.precision`).

    Attributes:
        dtype: NumPy's name of the type that products, or only their constant matrices, are rounded to.
        onnx: ONNX's name of that type.
        tensorrt: The name of that type in TensorRT's API.
        spacing: Of the numbers at 1, in the narrowest type that products are computed in.
        largest: Finite number of that type: what a product reads beyond it becomes infinite.
        kernel: The mark of that type in the kernels of TensorRT's engines, or "".
        weights_only: Whether only constant matrices have the type, and products are computed in float32.
        lookalike: Types whose rounding errors are as large, for a precision that an error may betray, or "".
        refused: Emission -> why there is no such graph, and what to ask for.
        provider_option: The option of ONNX Runtime's TensorRT provider that allows the type, or "".
        not_in_onnxruntime: Device -> why ONNX Runtime does not run such graphs there.
        widened: Device -> what a check on ONNX Runtime does not show, because it computes in wider types there.
    """

    dtype: str
    onnx: str
    tensorrt: str
    spacing: float
    largest: float
    kernel: str = ""
    weights_only: bool = False
    lookalike: str = ""
    refused: Mapping[Emission, tuple[str, str]] = dataclasses.field(default_factory=dict)
    provider_option: str = ""
    not_in_onnxruntime: Mapping[str, str] = dataclasses.field(default_factory=dict)
    widened: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def numpy(self) -> np.dtype[Any]:
        """NumPy's type, or that of ml_dtypes where NumPy has none of its own."""
        import ml_dtypes
        import numpy as np

        return np.dtype(getattr(ml_dtypes, self.dtype, self.dtype))


_NO_OPERATORS = (
    "there are no recurrent operators of bfloat16 to emit: NVIDIA's parser refuses them",
    "Ask for style unrolled or blocked, or for precision fp16.",
)
_NO_CPU_KERNELS = "ONNX Runtime's CPU has no kernels for bfloat16"
_NO_CPU_ROUNDING = (
    "ONNX Runtime's CPU computes products of fp16 in fp32: what rounding them to fp16 does, and fp16's range, were not "
    "checked; tensorrt-network does"
)
_NO_FREE_CHOICE = "ONNX Runtime's TensorRT provider takes int8 only where it may choose types itself"
_NO_KERNEL = ("the kernel of the plugin has weights in fp32 or fp16", "Ask for precision fp32 or fp16.")
_ONE_PRODUCT = ("a skewed graph has one product of all layers, without a scale for each output", "Ask for fp16.")

_FLOAT32_MAX = (2 - 2.0**-23) * 2.0**127

PRECISIONS: dict[Precision, PrecisionInfo] = {
    "fp32": PrecisionInfo("float32", "FLOAT", "FLOAT", spacing=2.0**-23, largest=_FLOAT32_MAX),
    "fp16": PrecisionInfo(
        "float16",
        "FLOAT16",
        "HALF",
        spacing=2.0**-10,
        largest=65504.0,
        kernel="Half",
        lookalike="float16 or TF32",  # which have the same mantissa
        provider_option="trt_fp16_enable",
        widened={"cpu": _NO_CPU_ROUNDING},
    ),
    "bf16": PrecisionInfo(
        "bfloat16",
        "BFLOAT16",
        "BF16",
        spacing=2.0**-7,
        largest=(2 - 2.0**-7) * 2.0**127,
        kernel="BFloat16",
        lookalike="bfloat16",
        refused={"fused": _NO_OPERATORS, "mixed": _NO_OPERATORS, "plugin": _NO_KERNEL},
        provider_option="trt_bf16_enable",
        not_in_onnxruntime={"cpu": _NO_CPU_KERNELS},
    ),
    "int8": PrecisionInfo(
        "int8",
        "INT8",
        "INT8",
        spacing=2.0**-23,
        largest=_FLOAT32_MAX,
        kernel="Int8",
        weights_only=True,
        refused={"skewed": _ONE_PRODUCT, "plugin": _NO_KERNEL},
        not_in_onnxruntime={"tensorrt": _NO_FREE_CHOICE},
    ),
}


def style_of(emission: str) -> str:
    """The style of graphs, in the glossary's words, that files call an emission."""
    return STYLES.get(emission, emission)


def emission_of(style: str) -> str:
    """What files call a style of graphs; their own words stay as they are."""
    return next((name for name, word in STYLES.items() if word == style), style)


class NamedGraph:
    """The names of a graph, from what it computes: the same for one that is asked for and one of a bundle.

    Attributes:
        form: Whole sequences, chunks or single steps.
        emission: How the network is written as nodes.
        steps: Time steps of one run.
        precision: Of matrix products.
    """

    form: Form
    emission: Emission
    steps: int
    precision: Precision

    @property
    def kind(self) -> str:
        """What the graph computes, whatever the emission: sequence, step, or chunk with its length (chunk32)."""
        return f"chunk{self.steps}" if self.form == "chunk" else self.form

    @property
    def name(self) -> str:
        """Short name, as in tables: kind/emission, for example sequence/fused, and the precision unless it is fp32."""
        return f"{self.kind}/{self.emission}" + (f"/{self.precision}" if self.precision != "fp32" else "")


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """An input or output of a graph or engine.

    Attributes:
        name: As in the graph.
        dtype: NumPy's name of the type, for example "float32".
        shape: The sizes; -1 for a free batch.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> TensorInfo:
        """Read the JSON form.

        Args:
            entry: `name`, `dtype` and `shape` (a list), checked before.
        """
        return cls(entry["name"], entry["dtype"], tuple(entry["shape"]))


@dataclasses.dataclass(frozen=True)
class Availability:
    """Whether a runtime or builder works on this machine.

    Attributes:
        usable: Whether it does.
        detail: Its version and device, or why it does not work.
        fix: What to do then.
    """

    usable: bool
    detail: str
    fix: str = ""


@dataclasses.dataclass(frozen=True)
class Examples:
    """A few real inputs with their true answers.

    Attributes:
        inputs: (N, T, C) float32, or (N, T) int64 tokens.
        targets: (N,) or (N, k) int64 classes, or (N, ...) float32 values of a regression.
        source: Where they come from.
    """

    inputs: NDArray[np.generic]  # (N, T, C) float32, or (N, T) int64 tokens
    targets: NDArray[np.generic]  # (N,) or (N, k) int64, or (N, ...) float32
    source: str

    @property
    def classes(self) -> NDArray[np.int64] | None:
        """The targets where they are classes, with which predictions can be compared."""
        return self.targets if self.targets.dtype.kind == "i" else None  # type: ignore[return-value]  # it is int64
