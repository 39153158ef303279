"""`--device` and `--trust-images`: for the command alone, and for every process that it starts."""

from __future__ import annotations

import os

import pytest

from drnn_deploy.cli import doctor as module
from drnn_runtimes.cuda_kernel.trust import TRUST, trusts_images
from tests.drnn_deploy.conftest import Command

VISIBLE = "CUDA_VISIBLE_DEVICES"


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, bool]]:
    """What a command finds in its environment."""
    found: list[tuple[str | None, bool]] = []
    examine = module.examine

    def watched() -> object:
        found.append((os.environ.get(VISIBLE), trusts_images()))
        return examine()

    monkeypatch.setattr(module, "examine", watched)
    monkeypatch.delenv(TRUST, raising=False)
    return found


def test_the_chosen_gpu_is_the_only_one_that_the_command_sees(
    command: Command, seen: list[tuple[str | None, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VISIBLE, "4,GPU-7")
    assert command("drnn-deploy", "doctor", "--device", "1").code == 0
    assert command("drnn-deploy", "doctor", "--trust-images").code == 0
    assert seen == [("GPU-7", False), ("4,GPU-7", True)]
    assert os.environ[VISIBLE] == "4,GPU-7" and TRUST not in os.environ
    ran = command("drnn-deploy", "doctor", "--device", "2")
    assert ran.code == 2 and f"there is no GPU 2: {VISIBLE} is '4,GPU-7'" in ran.err
    assert len(seen) == 2


@pytest.mark.parametrize("word, trusts", [("1", True), ("", False), ("0", False), ("false", False), ("no", False)])
def test_no_word_but_one_trusts_images(word: str, trusts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUST, word)
    assert trusts_images() is trusts


@pytest.mark.parametrize("name", ["bench", "demo", "evaluate", "export", "parity", "run", "stream"])
def test_every_command_that_runs_a_network_takes_both(name: str, command: Command) -> None:
    text = command("drnn-deploy", name, "--help").out
    assert "--device N" in text and "--trust-images" in text
