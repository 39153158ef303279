"""The text that the kernel is compiled from: the constants of a network in front of drnn.cu.

They are text in front, not options of the compiler: the same bytes go to NVRTC, nvcc and g++, and name an image in a
cache.
"""

from __future__ import annotations

from importlib import resources

from drnn_models.spec import ModelSpec
from drnn_runtimes.cuda_kernel.plan import KernelPlan, LayerPlan

_CELLS = {
    ("rnn", "tanh"): 0,
    ("rnn", "relu"): 1,
    ("gru", "after"): 2,
    ("gru", "before"): 3,
    ("lstm", ""): 4,
}


def kernel_source(plan: KernelPlan) -> str:
    """The CUDA C++ text of a network's kernel; see the docstring of the package for its signature.

    Args:
        plan: What `plan_kernel` chose.
    """
    return constants(plan) + read_source("drnn.cu")


def constants(plan: KernelPlan) -> str:
    """The constants that drnn.cu is compiled with.

    Args:
        plan: What `plan_kernel` chose.
    """
    options = plan.options
    code = [_shape(plan, layer) for layer in plan.layers]
    shapes = sorted(set(code))
    values = {
        "CELL": _CELLS[plan.spec.cell, _form(plan.spec)],
        "STREAMED": int(plan.variant == "streamed"),
        "HALF": int(options.weights == "fp16"),
        "APPROXIMATE": int(options.activations == "approximate"),
        "LAYERS": plan.spec.layers,
        "INPUTS": plan.spec.input.width,
        "TOP": plan.spec.hidden[-1],
        "ROWS": options.rows,
        "BLOCK": plan.block,
        "AHEAD": plan.ahead,
        "TILE": plan.tile,
        "THREADS": plan.threads,
        "MOVERS": plan.movers,
        "IN": plan.input_at,
        "OUT": plan.output_at,
        "PAST": plan.past_at[0],
        "MIXED": plan.past_at[1],
        "SHARED": plan.shared,
        "WORKSPACE": plan.workspace,
    }
    layers = [
        (
            index,
            shapes.index(code[index]),
            *(layer.begin, layer.end, layer.dilation, layer.fold),
            *(layer.weights, layer.biases, layer.h_state, layer.c_state),
            *layer.places,
        )
        for index, layer in enumerate(plan.layers)
    ]
    return "".join(
        [f"// {plan.spec.short_name}\n"]
        + [f"#define DRNN_{name} {value}\n" for name, value in values.items()]
        + [_table("LAYER", layers), _table("SHAPE", [(index, *shape) for index, shape in enumerate(shapes)])]
    )


def read_source(name: str) -> str:
    """A source file of this package.

    Args:
        name: Its name.
    """
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _shape(plan: KernelPlan, layer: LayerPlan) -> tuple[int, ...]:
    """What code of its own is compiled for: widths, and if resident where the past is and which steps it has."""
    if plan.variant == "streamed":
        return layer.inputs, layer.hidden, 0, 0
    return layer.inputs, layer.hidden, int(layer.far), int(layer.fold in (1, layer.dilation))


def _table(name: str, rows: list[tuple[int, ...]]) -> str:
    entries = " ".join(f"X({', '.join(map(str, row))})" for row in rows)
    return f"#define DRNN_EACH_{name}(X) {entries}\n"


def _form(spec: ModelSpec) -> str:
    return {"rnn": spec.activation, "gru": spec.reset, "lstm": ""}[spec.cell]
