"""A hook of MkDocs: the reference of commands, made of click's own descriptions of them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from html import escape
from textwrap import indent
from typing import Any

import click
from mkdocs.structure.pages import Page

MARK = "<!-- commands -->"


def on_page_markdown(markdown: str, *, page: Page, config: Any, files: Any) -> str:
    """Put the commands in the place of `MARK`.

    Args:
        markdown: The page's text.
        page: The page.
        config: MkDocs' configuration.
        files: The files of the site.

    Returns:
        The text.
    """
    if MARK not in markdown:
        return markdown
    from drnn_deploy.cli import drnn_deploy

    return markdown.replace(MARK, "\n".join(_described(click.Context(drnn_deploy, info_name="drnn-deploy"), level=2)))


def _described(context: click.Context, level: int) -> Iterator[str]:
    """Markdown of a command and of those below it. What click tells is escaped: it is text."""
    command = context.command
    yield f"\n{'#' * level} {context.command_path}\n"
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        literal, kept = paragraph.removeprefix("\b\n"), paragraph.startswith("\b\n")  # click's mark of lines to keep
        yield (indent(literal, "    ") if kept else escape(literal)) + "\n"
    yield f"    {context.command_path} {' '.join(command.collect_usage_pieces(context))}\n"
    if command.epilog:
        yield f"{escape(command.epilog)}\n"
    records = filter(None, (option.get_help_record(context) for option in command.get_params(context)))
    entries = [f"<dt><code>{escape(names)}</code></dt><dd>{escape(text)}</dd>" for names, text in records]
    yield "\n".join(("<dl>", *entries, "</dl>", ""))
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _described(click.Context(below, info_name=name, parent=context), level + 1)
