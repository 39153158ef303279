"""Completion of words in the shell: how it is installed, and what the shell is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from drnn_deploy.cli import drnn_deploy
from tests.drnn_deploy.conftest import Command


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_by_one_command(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".zshrc").write_text("alias x=y\n", encoding="utf-8")
    for _ in range(2):
        assert command("drnn-deploy", "completion").code == 0
    scripts = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".zshrc"]
    assert sorted(path.name.strip("_").removesuffix(".fish") for path in scripts) == [
        "drnn-deploy", "drnn-export", "drnn-parity",
    ]  # fmt: skip
    for path in scripts:
        variable = f"_{path.name.strip('_').removesuffix('.fish')}_COMPLETE".replace("-", "_").upper()
        assert variable in path.read_text(encoding="utf-8")
    settings = (tmp_path / ".zshrc").read_text(encoding="utf-8")
    assert settings.startswith("alias x=y\n")
    assert settings.count("compinit &&") == settings.count("compinit\n") == (1 if shell == "zsh" else 0)


def test_what_is_in_the_settings_and_who_may_read_them_stays(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = tmp_path / ".zshrc"
    settings.write_bytes(before := b"export TOKEN=1  # caf\xe9\n")
    settings.chmod(0o600)
    assert command("drnn-deploy", "completion", "zsh").code == 0
    assert settings.read_bytes().startswith(before)
    assert settings.stat().st_mode & 0o777 == 0o600


def test_what_is_printed_is_not_installed(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    ran = command("drnn-deploy", "completion", "zsh", "--print")
    assert (ran.code, list(tmp_path.iterdir())) == (0, [])
    assert [line for line in ran.out.splitlines() if line.startswith("#compdef")] == [
        "#compdef drnn-deploy", "#compdef drnn-export", "#compdef drnn-parity",
    ]  # fmt: skip


def test_completion_needs_to_know_the_shell(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/sh")
    ran = command("drnn-deploy", "completion")
    assert (ran.code, "drnn-deploy completion bash" in ran.err) == (2, True)


@pytest.mark.parametrize("typed, completed", [
    (["exp"], {"export", "experiment"}),
    (["evaluate", "--runtime", "onnx"], {"onnxruntime-cpu", "onnxruntime-cuda", "onnxruntime-tensorrt"}),
    (["train", "pix"], {"pixel-mnist"}),
    (["export", "--no-che"], {"--no-check"}),
])  # fmt: skip
def test_what_the_shell_is_told(typed: list[str], completed: set[str]) -> None:
    from click.shell_completion import get_completion_class

    made = get_completion_class("bash")
    assert made is not None
    *before, last = typed
    items = made(drnn_deploy, {}, "drnn-deploy", "_DRNN_DEPLOY_COMPLETE").get_completions(before, last)
    assert {item.value for item in items} == completed
