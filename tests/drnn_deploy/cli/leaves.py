"""Every command of drnn-deploy."""

from __future__ import annotations

import click

from drnn_deploy.cli import _COMMANDS, drnn_deploy


def leaves() -> list[tuple[str, ...]]:
    """The words of every command that does something, those of groups with their group's."""
    found: list[tuple[str, ...]] = []
    for name in _COMMANDS:
        command = drnn_deploy.get_command(click.Context(drnn_deploy), name)
        found += [(name, inner) for inner in command.commands] if isinstance(command, click.Group) else [(name,)]
    return found
