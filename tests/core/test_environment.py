from __future__ import annotations

import platform
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from drnn_core.environment import computed_with, environment, installed_versions, package_version, release

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_a_source_tree_that_was_never_installed_knows_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    assert package_version() == PROJECT["version"]


def test_an_installed_distribution_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", {"drnn-deploy": "9.8.7"}.__getitem__)
    assert package_version() == "9.8.7"


def test_the_release_of_a_version_is_its_leading_numbers() -> None:
    assert release("10.3.0.26") == (10, 3, 0, 26)
    assert release("2.13.0+cpu") == (2, 13)
    assert (release("1" * 5000), release("2." + "1" * 5000), release("")) == ((), (2,), ())


def test_only_installed_packages_have_a_version_in_the_given_order(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"numpy": "2.1.0", "onnx": "1.17.0"}

    def version(name: str) -> str:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(metadata, "version", version)
    assert list(installed_versions(["onnx", "torch", "numpy"]).items()) == [("onnx", "1.17.0"), ("numpy", "2.1.0")]
    assert set(environment()) - {"gpu"} == {"python", "system", *installed}
    assert list(computed_with(["onnx", "torch"]).items()) == [("onnx", "1.17.0"), ("python", platform.python_version())]
