"""What kind of file somebody gave us, from its first bytes and names of parts, and the command that takes it."""

from __future__ import annotations

import difflib
import re
import shlex
import zipfile
import zlib
from pathlib import Path

from drnn_core import bounds
from drnn_core.errors import InputError

MANIFEST = "manifest.json"  # of a bundle
_PEEK = 1 << 20  # bytes of a pickle that are searched for the names of classes
_ONNX = re.compile(rb"\x08[\x01-\x3f](?:[\x12\x1a\x22\x32\x3a\x42\x72]|\x28[\x00-\x7f])")  # ir_version, next field
STATE_DICTS = ("state_dict", "model_state_dict", "model")  # where training scripts keep a state dict
_TAKE_OUT = (
    "import sys, torch; x = torch.load(sys.argv[1], map_location='cpu', weights_only=False); "
    f"x = next((x[k] for k in {STATE_DICTS} if k in x), x) if isinstance(x, dict) else x; "
    "x = x.state_dict() if hasattr(x, 'state_dict') else {k: v for k, v in x.items() if torch.is_tensor(v)}; "
    "torch.save(x, sys.argv[2])"
)
_TAKE_OUT_SCRIPT = (
    "import sys, torch; torch.save(torch.jit.load(sys.argv[1], map_location='cpu').state_dict(), sys.argv[2])"
)
_NO_ARCHIVE = (OSError, EOFError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)


def is_safetensors(path: Path) -> bool:
    """Whether the file starts like one: eight bytes of length, then a JSON object. The format has no magic number."""
    start = _start(path, 9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def check_file(path: Path, wanted: str) -> None:
    """Refuse a path that leads to no content.

    Args:
        path: Which should be a file.
        wanted: What to give in its place, for the advice.

    Raises:
        InputError: Nothing is there, a folder is, or the file is empty.
    """
    if path.is_dir():
        raise InputError(f"{path} is not a file but a folder", f"Give {wanted}.")
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file", f"{near(path)}Give {wanted}.")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty", "Copy or train it again: the file was cut off when it was written.")


def check_checkpoint_file(path: Path) -> None:
    """Refuse what the first bytes show to be no checkpoint, without PyTorch, whose import takes seconds.

    Raises:
        InputError: The file is not there, empty, or of another kind.
    """
    refuse_other_kinds(path)
    check_file(path, "the path of a checkpoint, model.pt")
    if is_safetensors(path):
        raise InputError(f"{path} is a safetensors file and no drnn-deploy checkpoint", import_advice(path))


def check_bundle_folder(folder: Path) -> None:
    """Refuse what is not a bundle at first sight.

    Raises:
        InputError: Nothing is there, it is a file, or it has no manifest.
    """
    if folder.is_file():
        quoted = shlex.quote(str(folder))
        raise InputError(
            f"{folder} is a file, and a bundle is a folder", f"Make one of a checkpoint: drnn-export {quoted}"
        )
    if (folder / MANIFEST).is_file():
        return
    reason = f"it has no {MANIFEST}" if folder.is_dir() else "it does not exist"
    make = "Make one: drnn-export model.pt --output DIR"
    raise InputError(f"{folder} is not a bundle: {reason}", f"{near(folder)}{make}")


def near(path: Path) -> str:
    """A question after a name beside a path that is much like its own; "" where there is none."""
    try:
        names = [] if path.exists() else [other.name for other in path.parent.iterdir()]
    except OSError:
        names = []
    like = difflib.get_close_matches(path.name, names, 1)
    return f"Did you mean {path.with_name(like[0])}? " if like else ""


def refuse_other_kinds(path: Path) -> None:
    """Refuse what is neither weights nor a checkpoint.

    Raises:
        InputError: The file is an ONNX graph, a TorchScript file or an exported program, or a folder with a bundle.
    """
    quoted = shlex.quote(str(path))
    if (path / MANIFEST).is_file():
        raise InputError(f"{path} is a bundle, which was exported already", f"To check it, type: drnn-parity {quoted}")
    parts = _parts(path)
    if any(part.endswith("constants.pkl") for part in parts) and any("/code/" in part for part in parts):
        raise InputError(
            f"{path} is a TorchScript file, whose code is not run here",
            f"If you trust its maker, take its weights out: {_to_weights(_TAKE_OUT_SCRIPT, path)}",
        )
    if any(part.endswith(("serialized_exported_program.json", "/models/model.json")) for part in parts):
        raise InputError(
            f"{path} is an exported program of torch.export",
            "Save the state dict of the module that it was made from: "
            f"torch.save(module.state_dict(), {_weights_of(path)!r})\n{_then_import(path)}",
        )
    if _ONNX.match(_start(path, 4)) or (path.suffix.lower() == ".onnx" and path.is_file()):
        raise InputError(
            f"{path} is an ONNX file, a graph and no network to export",
            f"To check what TensorRT makes of it, type: drnn-deploy lint {quoted}\n"
            "To export, take the weights that it was made from: drnn-deploy import --help",
        )


def import_advice(path: Path) -> str:
    """The commands that take a file of weights from other code to a bundle."""
    output = shlex.quote(f"{path.stem}-imported.pt")
    command = f"drnn-deploy import {shlex.quote(str(path))} --output {output}"
    return f"Type: {command}\nThen: drnn-export {output} --length STEPS"


def take_out_advice(path: Path) -> str:
    """What to do with a file that holds Python objects, which says what they seem to be."""
    content = _pickle_start(path)
    kind = "Python objects"
    if b"pytorch-lightning_version" in content or b"lightning" in content:
        kind = "a checkpoint of Lightning"
    elif b"torch.nn.modules" in content:
        kind = "a whole module"
    return (
        f"It seems to be {kind}. If you trust its maker, take the weights out there: {_to_weights(_TAKE_OUT, path)}\n"
        "Or save a checkpoint there, with drnn_models.checkpoint.save_checkpoint."
    )


def _to_weights(code: str, path: Path) -> str:
    """The command that writes a state dict beside what it reads, and the next one."""
    read, written = shlex.quote(str(path)), shlex.quote(_weights_of(path))
    return f"python -c {shlex.quote(code)} {read} {written}\n{_then_import(path)}"


def _then_import(path: Path) -> str:
    return f"Then type: drnn-deploy import {shlex.quote(_weights_of(path))}"


def _weights_of(path: Path) -> str:
    return f"{path.stem}-weights.pt"


def _start(path: Path, count: int) -> bytes:
    try:
        with bounds.open_file(path) as file:
            return file.read(count)
    except OSError:  # which `load_plain` explains
        return b""


def _parts(path: Path) -> list[str]:
    """The names in an archive; none where it is no archive."""
    if _start(path, 4) != b"PK\x03\x04":
        return []
    try:
        with bounds.open_file(path) as file, bounds.open_zip(file, bounds.UNPACKED) as archive:
            return archive.namelist()
    except _NO_ARCHIVE:  # which `load_plain` explains
        return []


def _pickle_start(path: Path) -> bytes:
    """The first bytes of a torch file's pickle, which are read as text and never unpickled."""
    pickles = [part for part in _parts(path) if part.endswith("/data.pkl")]
    if not pickles:
        return _start(path, _PEEK)
    try:
        with (
            bounds.open_file(path) as file,
            bounds.open_zip(file, bounds.UNPACKED) as archive,
            archive.open(pickles[0]) as part,
        ):
            return part.read(_PEEK)
    except _NO_ARCHIVE:
        return b""
