"""What the README shows is run, and what it tells people to type is understood."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from drnn_deploy.cli import drnn_deploy
from drnn_deploy.cli.export import export

README = (Path(__file__).parents[1] / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.partition("#")[0].strip() for line in re.findall(r"^ {4}(drnn-(?:export|deploy) .*)$", README, re.MULTILINE)
]


def test_python_examples_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(EXAMPLES) == 3
    for example in EXAMPLES:
        exec(compile(example, "README.md", "exec"), {})
    assert (tmp_path / "bundle" / "manifest.json").is_file()


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_are_understood(line: str) -> None:
    name, *words = shlex.split(line)
    if name == "drnn-export":
        export.make_context(name, words)
        return
    context = drnn_deploy.make_context(name, words)
    command = drnn_deploy.get_command(context, words[0])
    assert command is not None, words[0]
    command.make_context(words[0], words[1:], parent=context)


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_links_lead_somewhere(path: str) -> None:
    assert (Path(__file__).parents[1] / path).exists()
