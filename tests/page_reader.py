"""Somebody who follows a page of the documentation: what it tells to type is typed, and ends well.

A fence `python` whose first line is a comment with a name is that file, any other is run; `sh` is run line by line;
`text` is what a command prints. What goes to the network or to another machine is held against the options only.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from drnn_deploy.cli import drnn_deploy, main, main_export, main_parity
from drnn_deploy.exporter import engines
from tests.optional_runtimes import HIDDEN, hidden

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHOWN = {"text", "yaml"}
ENTRIES = {"drnn-deploy": main, "drnn-export": main_export, "drnn-parity": main_parity}
ELSEWHERE = (
    "drnn-deploy data fetch",
    "pip install",
    "python3 -m venv",
    ". ~/",
    "~/device/bin/",
    "scp ",
    "ssh ",
    "arecord ",
)
CROSS = "--native-target"  # for zig; `make cross` compiles with it
SHORTER = {  # what takes hours, here in seconds
    "drnn-deploy train pixel-mnist": "--set training.iterations=2 --set training.evaluate_every=2 "
    "--set training.batch=4 --set model.hidden=[4,4] --set model.dilations=[1,2]"
}


def fences(page: Path) -> list[tuple[str, str]]:
    return FENCE.findall(page.read_text(encoding="utf-8"))


def typed_lines(text: str) -> list[str]:
    """The lines of an `sh` fence, with those that end in a backslash joined, without comments."""
    lines = (line.partition("  #")[0].strip() for line in text.replace("\\\n", " ").splitlines())
    return [line for line in lines if line]


def understood(line: str) -> None:
    """The command and its options exist; what pip is to install has the extras that are asked for."""
    program, *words = shlex.split(line.removeprefix("ssh jetson "))
    name = program.rpartition("/")[2]
    if name == "pip":
        asked = {extra for word in words for extras in re.findall(r"\[(.+)\]", word) for extra in extras.split(",")}
        assert asked <= set(PROJECT["optional-dependencies"]), line
    if name in ("drnn-export", "drnn-parity"):
        name, words = "drnn-deploy", [name.removeprefix("drnn-"), *words]
    if name != "drnn-deploy":
        return
    command = drnn_deploy.get_command(drnn_deploy.make_context(name, words), words[0])
    assert command is not None
    command.make_context(words[0], words[1:])


class Reader:
    """Somebody who follows a page in an empty folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(str(folder))

    def follow(self, page: Path) -> None:
        self.follow_text(page.read_text(encoding="utf-8"))

    def follow_text(self, page: str) -> None:
        for language, text in FENCE.findall(page):
            if language == "python":
                self.keep_or_run(text)
            elif language == "sh":
                for line in typed_lines(text):
                    self.type(line)
            else:
                assert language in SHOWN, f"a fence of {language!r} is neither run nor only shown"

    def keep_or_run(self, text: str) -> None:
        named = re.match(r"# (\S+\.py)\n", text)
        if named:
            (self.folder / named[1]).write_text(text, encoding="utf-8")
        else:
            self.run_python(text, "snippet")

    def type(self, line: str) -> None:
        if line.startswith(ELSEWHERE) or CROSS in line:
            understood(line)
            return
        if line.startswith("make "):
            line = line.replace("make ", f"make -n -C {REPOSITORY} ", 1)  # CI makes them in earnest
        shorter = next((words for start, words in SHORTER.items() if line.startswith(start)), "")
        name, *words = shlex.split(f"{line} {shorter}")
        if name in ENTRIES:
            self.monkeypatch.setattr(sys, "argv", [name, *words])
            with pytest.raises(SystemExit) as ended:
                ENTRIES[name]()
            assert not ended.value.code, line
        elif name == "python" and words[0] != "-m":
            self.run_python((self.folder / words[0]).read_text(encoding="utf-8"), words[0])
        else:
            line = line.replace("python -m", f"{sys.executable} -m")
            done = subprocess.run(line, shell=True, cwd=self.folder, capture_output=True, text=True)
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"

    def run_python(self, text: str, name: str) -> None:
        exec(compile(text, name, "exec"), {"__name__": "__main__"})


@contextlib.contextmanager
def without_nvidia() -> Iterator[None]:
    """Inside, a machine without NVIDIA's packages: engines have tests of their own."""
    with hidden(("tensorrt-network",)), pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "backend_availability", lambda *_: HIDDEN)
        yield
