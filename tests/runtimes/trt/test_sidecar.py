"""`Sidecar`: what is written is what is read, and a damaged or foreign file is refused by the name of its key."""

from __future__ import annotations

import dataclasses
import json
import platform
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_core.errors import EngineError
from drnn_core.types import TensorInfo
from drnn_runtimes.trt.bindings import Flavour
from drnn_runtimes.trt.sidecar import (
    FORMAT,
    Hardware,
    InsideImage,
    InsideKernel,
    Sidecar,
    sidecar_path,
    sidecar_schema,
    this_platform,
)

SIDECAR = Sidecar(
    flavour="tensorrt-rtx",
    version="1.7.1.116",
    platform="linux-x86_64",
    compute_capabilities=("8.6", "12.0"),
    driver=None,
    ahead_of_time=True,
    flags={"tf32": False, "strongly_typed": True},
    onnx="model.onnx",
    onnx_sha256="a" * 64,
    engine_sha256="b" * 64,
    engine_bytes=1234,
    build_seconds=0.5,
    inputs=(TensorInfo("input", "float32", (-1, 12, 3)),),
    outputs=(TensorInfo("output", "float32", (-1, 10)),),
    batch=(1, 2, 8),
    command="tensorrt_rtx --onnx=model.onnx",
)
KERNEL = InsideKernel("drnn::DilatedStack", "1", "0123456789ab", "NVRTC 13.0", (InsideImage("8.6", "c" * 64, 1000),))
REQUIRED = {field.name for field in dataclasses.fields(Sidecar)} - {"kernel"}  # which older files have not
FITTING = {
    "flavour": "tensorrt-rtx",
    "version": "1.7.1.116",
    "platform": "linux-x86_64",
    "compute_capability": "8.6",
}


def plain(**changes: object) -> dict[str, Any]:
    """The sidecar's JSON form, with some keys changed."""
    data: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(SIDECAR)))
    return {**data, **changes}


@pytest.mark.parametrize(
    "sidecar",
    [
        SIDECAR,
        dataclasses.replace(SIDECAR, kernel=KERNEL),
        dataclasses.replace(SIDECAR, batch=None, driver="CUDA 13.0", ahead_of_time=False, build_seconds=2.0),
    ],
)
def test_what_is_written_is_read(sidecar: Sidecar, tmp_path: Path) -> None:
    path = sidecar_path(tmp_path / "model.engine")
    sidecar.write(path)
    assert path.name == "model.engine.json"
    assert Sidecar.read(path) == sidecar


@pytest.mark.parametrize("key", sorted(REQUIRED))
def test_a_missing_key_is_named(key: str) -> None:
    data = plain()
    del data[key]
    with pytest.raises(EngineError, match=f"missing key '{key}'") as caught:
        Sidecar.from_json(data)
    assert "drnn-export model.pt --output DIR" in caught.value.fix


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(EngineError, match="unknown key 'colour'"):
        Sidecar.from_json(plain(colour="green"))


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("format", "drnn-deploy-engine/1", "format"),
        ("flavour", "openvino", "flavour"),
        ("flavour", ["tensorrt"], "flavour"),
        ("version", 11, "version"),
        ("version", "", "version"),
        ("platform", None, "platform"),
        ("compute_capabilities", [], "compute_capabilities"),
        ("compute_capabilities", "8.6", "compute_capabilities"),
        ("compute_capabilities", ["8.6", "SM89"], r"compute_capabilities\[1\]"),
        ("driver", 580, "driver"),
        ("ahead_of_time", 1, "ahead_of_time"),
        ("flags", ["tf32"], "flags"),
        ("flags", {"tf32": "off"}, "flags.tf32"),
        ("onnx", "", "onnx"),
        ("onnx_sha256", "A" * 64, "onnx_sha256"),
        ("engine_sha256", "b" * 63, "engine_sha256"),
        ("engine_sha256", "b" * 64 + "\n", "engine_sha256"),
        ("compute_capabilities", ["8.6\n"], r"compute_capabilities\[0\]"),
        ("engine_bytes", 0, "engine_bytes"),
        ("engine_bytes", True, "engine_bytes"),
        ("engine_bytes", 1.5, "engine_bytes"),
        ("engine_bytes", 1.0, "engine_bytes"),
        ("loops", 2.0, "loops"),
        ("build_seconds", "fast", "build_seconds"),
        ("build_seconds", float("nan"), "build_seconds"),
        ("build_seconds", -1, "build_seconds"),
        ("build_seconds", float("inf"), "build_seconds"),
        ("build_seconds", 10**400, "build_seconds"),
        ("build_seconds", True, "build_seconds"),
        ("inputs", [], "inputs"),
        ("inputs", [{"name": "input", "dtype": "float32"}], r"inputs\[0\]: missing key 'shape'"),
        ("outputs", [{"name": "o", "dtype": "float32", "shape": [1, "T"]}], r"outputs\[0\].shape\[1\]"),
        ("outputs", [{"name": "o", "dtype": "float32", "shape": [-2]}], r"outputs\[0\].shape\[0\]"),
        ("batch", [1, 8], "batch"),
        ("batch", [0, 1, 2], r"batch\[0\]"),
        ("batch", [4, 2, 8], "batch"),
        ("hardware", "any", "hardware"),
        ("command", "", "command"),
    ],
)
def test_a_mistyped_key_is_named(key: str, value: object, named: str) -> None:
    with pytest.raises(EngineError, match=f"^{named}"):
        Sidecar.from_json(plain(**{key: value}))


def test_the_schema_knows_the_keys_and_choices_of_the_class() -> None:
    schema = sidecar_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(schema["required"]) == REQUIRED
    assert set(schema["properties"]) == {field.name for field in dataclasses.fields(Sidecar)}
    tensor = schema["$defs"]["tensor"]
    assert set(tensor["required"]) == set(tensor["properties"]) == {"name", "dtype", "shape"}
    choices = {key: tuple(schema["properties"][key]["enum"]) for key in ("flavour", "hardware")}
    assert choices == {"flavour": get_args(Flavour), "hardware": get_args(Hardware)}
    assert schema["properties"]["format"]["const"] == FORMAT


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(key=st.sampled_from([field.name for field in dataclasses.fields(Sidecar)]), value=json_values)
def test_any_value_gives_a_sidecar_or_an_engine_error(key: str, value: object) -> None:
    try:
        sidecar = Sidecar.from_json(plain(**{key: value}))
    except EngineError:
        return
    assert Sidecar.from_json(json.loads(json.dumps(dataclasses.asdict(sidecar)))) == sidecar


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"null", b"[" * 100_000])
def test_a_file_that_is_no_sidecar_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.engine.json"
    path.write_bytes(content)
    with pytest.raises(EngineError, match=r"model\.engine\.json"):
        Sidecar.read(path)


def test_a_missing_file_is_an_engine_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"nowhere\.json") as caught:
        Sidecar.read(tmp_path / "nowhere.json")
    assert caught.value.exit_code == 4


def test_a_fitting_machine_has_no_mismatch() -> None:
    assert SIDECAR.mismatch(**FITTING) == ""
    assert SIDECAR.mismatch(**{**FITTING, "compute_capability": "12.0"}) == ""


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("flavour", "tensorrt", ("for tensorrt-rtx", "not for tensorrt")),
        ("version", "1.8.0.1", ("1.7.1.116", "1.8.0.1")),
        ("platform", "linux-aarch64", ("linux-x86_64", "linux-aarch64")),
        ("compute_capability", "8.9", ("8.6, 12.0", "8.9")),
    ],
)
def test_a_mismatch_names_both_sides(key: str, value: str, words: tuple[str, ...]) -> None:
    sentence = SIDECAR.mismatch(**{**FITTING, key: value})
    assert all(word in sentence for word in words), sentence
    assert "\n" not in sentence
    assert ";" not in sentence


COMPATIBLE = dataclasses.replace(
    SIDECAR,
    flavour="tensorrt",
    version="10.3.0.26",
    compute_capabilities=("8.6",),
    flags={**SIDECAR.flags, "version_compatible": True},
    hardware="ampere+",
)


@pytest.mark.parametrize(
    ("version", "fits"),
    [("10.3.0.26", True), ("10.13.2.6", True), ("10.4", True), ("10.2.9.99", False), ("11.0.0.1", False)],
)
def test_version_compatible_engine_fits_later_versions_of_its_major_one(version: str, fits: bool) -> None:
    machine = {**FITTING, "flavour": "tensorrt", "version": version}
    assert (COMPATIBLE.mismatch(**machine) == "") is fits
    exact = dataclasses.replace(COMPATIBLE, flags=SIDECAR.flags)
    assert (exact.mismatch(**machine) == "") is (version == "10.3.0.26")


@pytest.mark.parametrize(("capability", "fits"), [("8.0", True), ("8.7", True), ("12.0", True), ("7.5", False)])
def test_ampere_engine_fits_ampere_and_later(capability: str, fits: bool) -> None:
    machine = {**FITTING, "flavour": "tensorrt", "version": "10.3.0.26", "compute_capability": capability}
    sentence = COMPATIBLE.mismatch(**machine)
    assert (sentence == "") is fits
    assert fits or "8.0 or later and this GPU has 7.5" in sentence
    exact = dataclasses.replace(COMPATIBLE, hardware="same-compute-capability")
    assert exact.mismatch(**machine)
    assert not exact.mismatch(**{**machine, "compute_capability": "8.6"})


def test_every_difference_is_in_the_sentence() -> None:
    sentence = SIDECAR.mismatch(
        flavour="tensorrt-rtx", version="1.4.0.0", platform="windows-x86_64", compute_capability="9.0"
    )
    assert all(word in sentence for word in ("1.4.0.0", "windows-x86_64", "9.0"))


@pytest.mark.parametrize(
    ("system", "machine", "expected"),
    [
        ("Linux", "x86_64", "linux-x86_64"),
        ("Windows", "AMD64", "windows-x86_64"),
        ("Linux", "aarch64", "linux-aarch64"),
        ("Darwin", "arm64", "darwin-aarch64"),
    ],
)
def test_the_platform_has_one_name_per_processor(
    system: str, machine: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert this_platform() == expected
