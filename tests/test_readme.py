"""What the README and the pages beside it show is run, and what they tell people to type is understood."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

from drnn_deploy.cli import drnn_deploy
from drnn_deploy.cli.export import export
from drnn_deploy.cli.parity import parity

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PAGES = {
    path: path.read_text(encoding="utf-8")
    for path in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md")))
}
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.partition("#")[0].strip()
    for text in PAGES.values()
    for line in re.findall(r"^ {4}(drnn-(?:export|deploy|parity) .*)$", text, re.MULTILINE)
]
LINKS = [(page, link) for page, text in PAGES.items() for link in re.findall(r"\]\(([^)#:]+)\)", text)]


def test_python_examples_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(EXAMPLES) == 3
    for example in EXAMPLES:
        exec(compile(example, "README.md", "exec"), {})
    assert (tmp_path / "bundle" / "manifest.json").is_file()


def test_python_examples_need_no_deep_module() -> None:
    imports = [
        node for example in EXAMPLES for node in ast.walk(ast.parse(example)) if isinstance(node, ast.ImportFrom)
    ]
    ours = {str(node.module) for node in imports if str(node.module).startswith("drnn_")}
    assert ours == {"drnn_deploy", "drnn_models", "drnn_runtimes"}


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_are_understood(line: str) -> None:
    name, *words = shlex.split(line)
    if name != "drnn-deploy":
        {"drnn-export": export, "drnn-parity": parity}[name].make_context(name, words)
        return
    context = drnn_deploy.make_context(name, words)
    command = drnn_deploy.get_command(context, words[0])
    assert command is not None, words[0]
    command.make_context(words[0], words[1:], parent=context)


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize(("page", "link"), sorted(set(LINKS)), ids=lambda value: str(value)[-60:])
def test_links_lead_somewhere(page: Path, link: str) -> None:
    assert (page.parent / link).exists()
