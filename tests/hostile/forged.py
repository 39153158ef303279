"""Forged bundles: a right one in which one thing is something else, with checksums redone as a forger would."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from tests.sealing import reseal

Arrays = dict[str, NDArray[Any]]
Where = tuple[str | int, ...]

DEEP: Any = []
for _ in range(60):
    DEEP = [DEEP]
NUMBERS = (0, -1, 1, 2, 1.0, 100.0, 0.5, -0.0, 1e308, 7, 63, 10**6, 10**9, 2**31, 2**63, 10**30, 10**400)
TEXTS = (
    "", " ", ".", "..", "/", "../../etc/passwd", "/etc/passwd", "C:\\x", "a\0b", "a\nb", "[/red]", "[bold]x[/]",
    "\ud800", "\x1b[2J", "x" * 100_000, "<script>", "%s%n", "model.onnx", "golden.npz", "manifest.json",
)  # fmt: skip
LISTS = ([], [[]], [0], [-1], [1, 2], [3, 2, 1], [10**9] * 3, [1] * 10_000, DEEP, ["state_a", "next_state_a"])
VALUES = (None, True, False, *NUMBERS, *TEXTS, *LISTS, {}, {"": ""}, {"a": DEEP}, {"steps": 1})
INTEGERS = (0, -1, 1, 7, 255, 2**31 - 1, 2**31, 2**40, 2**63 - 1, -(2**63))


class Pickled:
    """Makes a folder where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def places(value: Any, where: Where = ()) -> Iterator[Where]:
    """Every place within lists and dicts."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in pairs:
        yield (*where, key)
        yield from places(entry, (*where, key))


def changed_somewhere(document: Any, draw: random.Random, top: tuple[str, ...] = ()) -> None:
    """Replace, remove or repeat an entry of a JSON document; with `top`, below one of these."""
    where = draw.choice([place for place in places(document) if not top or place[0] in top])
    holder = document
    for key in where[:-1]:
        holder = holder[key]
    what = draw.random()
    if what < 0.08:
        del holder[where[-1]]
    elif what < 0.16 and isinstance(holder, list):
        holder.append(holder[where[-1]])
    elif what < 0.2 and isinstance(holder, dict):
        holder[str(draw.choice(VALUES))] = draw.choice(VALUES)
    else:
        holder[where[-1]] = draw.choice(VALUES)


def forge_manifest(folder: Path, draw: random.Random) -> None:
    """Anything of a manifest: mostly of its graphs, which say the most."""
    top = draw.choice([("graphs",), ("graphs",), ("spec",), ("files", "engines"), ()])
    reseal(folder, lambda manifest: changed_somewhere(manifest, draw, top))


def forge_golden(folder: Path, draw: random.Random, marker: Path) -> None:
    """An array or an entry of the golden data."""
    path = folder / "golden.npz"
    with np.load(path) as stored:
        arrays: Arrays = dict(stored)
    index = json.loads(str(arrays.pop("index")))
    if draw.random() < 0.4:
        changed_somewhere(index, draw)
    else:
        name = draw.choice(list(arrays))
        changed = _changed_array(arrays.pop(name), draw, marker)
        if changed is not None:
            arrays[name] = changed
    with path.open("wb") as file:
        np.savez_compressed(file, index=np.array(json.dumps(index)), **arrays)  # type: ignore[arg-type]
    reseal(folder)


def _changed_array(value: NDArray[Any], draw: random.Random, marker: Path) -> NDArray[Any] | None:
    changes: tuple[Callable[[], NDArray[Any] | None], ...] = (
        lambda: None,
        lambda: value[:0],
        lambda: value[..., :0],
        lambda: value[:1],
        lambda: value[..., :3],
        lambda: value[..., None],
        lambda: value.reshape(-1),
        lambda: np.repeat(value, 3, axis=-1),
        lambda: value.astype(np.float32),
        lambda: value.astype(np.complex128),
        lambda: value.astype(">f8"),
        lambda: value.astype(str),
        lambda: value.astype(bool),
        lambda: np.full_like(value, draw.choice((-1, 2**31 - 1, 10**6))),
        lambda: value * np.float32(np.nan),
        lambda: value.astype(np.float64) * 1e308 * 10,
        lambda: np.zeros((1 << 24, *value.shape[1:]), value.dtype),
        lambda: np.zeros((), value.dtype),
        lambda: np.array([Pickled(marker)], dtype=object),
    )
    with np.errstate(all="ignore"):
        return draw.choice(changes)()


def forge_sidecar(folder: Path, draw: random.Random) -> None:
    """Anything of a sidecar."""
    path = next((folder / "engines").glob("*.json"))
    sidecar = json.loads(path.read_text(encoding="utf-8"))
    changed_somewhere(sidecar, draw)
    path.write_text(json.dumps(sidecar), encoding="utf-8")
    reseal(folder)


def forge_graph(folder: Path, draw: random.Random) -> None:
    """Bytes, or operators, names, attributes and sizes of a graph."""
    path = folder / "model.onnx"
    data = bytearray(path.read_bytes())
    if draw.random() < 0.25:
        for _ in range(draw.randrange(1, 6)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        path.write_bytes(data[: draw.choice((len(data), draw.randrange(len(data))))])
    else:
        model = onnx.load_model_from_string(bytes(data))
        for _ in range(draw.randrange(1, 4)):
            draw.choice((_operator, _names, _attribute, _constant, _edge))(model, draw)
        path.write_bytes(model.SerializeToString())
    reseal(folder)


def _operator(model: onnx.ModelProto, draw: random.Random) -> None:
    schemas = onnx.defs.get_all_schemas()
    draw.choice(model.graph.node).op_type = draw.choice(schemas).name


def _names(model: onnx.ModelProto, draw: random.Random) -> None:
    node, other = draw.choice(model.graph.node), draw.choice(model.graph.node)
    names = [*other.input, *other.output, "", "nowhere", "x" * 100_000]
    side = draw.choice((node.input, node.output))
    if len(side):
        side[draw.randrange(len(side))] = draw.choice(names)


def _attribute(model: onnx.ModelProto, draw: random.Random) -> None:
    node = draw.choice(model.graph.node)
    name = draw.choice(("axis", "hidden_size", "direction", "layout", "to", "perm", "transB", "axes", "odd"))
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    value: Any = draw.choice(INTEGERS)
    graph = onnx.helper.make_graph([], "g", [], [])
    value = draw.choice((value, [value, draw.choice(INTEGERS)], float(value), "reverse", "x" * 1_000, graph))
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])


def _constant(model: onnx.ModelProto, draw: random.Random) -> None:
    tensor = draw.choice(model.graph.initializer)
    what = draw.randrange(4)
    if what == 0:
        tensor.dims[:] = [draw.choice(INTEGERS) for _ in range(draw.randrange(4))]
    elif what == 1:
        tensor.data_type = draw.randrange(30)
    elif what == 2:
        tensor.raw_data = tensor.raw_data[: draw.randrange(len(tensor.raw_data) + 1)]
    elif tensor.data_type == onnx.TensorProto.INT64:
        count = len(tensor.raw_data) // 8
        tensor.raw_data = np.array([draw.choice(INTEGERS) for _ in range(count)], np.int64).tobytes()


def _edge(model: onnx.ModelProto, draw: random.Random) -> None:
    value = draw.choice([*model.graph.input, *model.graph.output])
    dims = value.type.tensor_type.shape.dim
    if len(dims) and draw.random() < 0.7:
        draw.choice(dims).dim_value = draw.choice(INTEGERS)
    else:
        value.type.tensor_type.elem_type = draw.randrange(30)


def link_elsewhere(folder: Path, draw: random.Random) -> None:
    """A file that is a link to another place, a pipe or a folder."""
    name = draw.choice(("model.onnx", "golden.npz", "weights.safetensors", "manifest.json", "parity.json"))
    path = folder / name
    outside = Path(os.fspath(folder) + f".{name}")
    outside.write_bytes(path.read_bytes())
    path.unlink()
    what = draw.randrange(5)
    if what == 0:
        path.mkdir()
    elif what == 1:
        os.mkfifo(path)
    else:
        path.symlink_to((outside, "/dev/zero", "/proc/self/mem")[what - 2])
