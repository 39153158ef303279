"""`drnn-deploy cache [show|clear]`: what is kept on this machine, how large it is, and where."""

from __future__ import annotations

import time
from typing import Any

import click

from drnn_deploy.cli.command import Group
from drnn_deploy.cli.console import json_option, make_console, show_next, write_json
from drnn_deploy.cli.tables import Column, print_table
from drnn_deploy.cli.values import Name

_COLUMNS = (
    Column("kind", kind="name"),
    Column("what", 2, "prose"),
    Column("entries"),
    Column("size"),
    Column("limit", 1),
    Column("last used", 3),
)


@click.group(cls=Group, invoke_without_command=True)
@click.pass_context
def cache(ctx: click.Context) -> None:
    """Show or clear what was made on this machine and is kept: engines, kernels, float64 answers.

    All of it is in one folder, $DRNN_CACHE or the user's cache, and can be made again. What was not used for longest
    goes where a kind is over its limit; $DRNN_CACHE_MIB is another limit for each kind.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(show)


@cache.command()
@json_option
def show(json_path: str | None = None) -> None:
    """Show how much is kept of each kind, as without a word."""
    from drnn_core.bounds import shown_bytes
    from drnn_core.cache import cache_root

    console = make_console(json_path)
    kinds = _kinds()
    write_json(json_path, {"folder": str(cache_root()), "kinds": kinds})
    rows = []
    for kind in kinds:
        used = kind["last_used"]
        day = "never" if used is None else time.strftime("%Y-%m-%d", time.localtime(used))
        size, limit = shown_bytes(kind["bytes"]), shown_bytes(kind["limit"])
        rows.append([kind["name"], kind["what"], f"{kind['entries']:,}", size, limit, day])
    print_table(console, _COLUMNS, rows)
    console.print(f"folder  {cache_root()}")
    show_next(console, "to empty it: drnn-deploy cache clear")


def _names() -> list[str]:
    from drnn_core.cache import KINDS

    return list(KINDS)


@cache.command()
@click.argument("kinds", metavar="[KIND]...", nargs=-1, type=Name("kind", _names))
def clear(kinds: tuple[str, ...]) -> None:
    """Remove what is kept, of all kinds or of these. Other files in the folders stay."""
    from drnn_core import cache as kept
    from drnn_core.bounds import shown_bytes

    console = make_console(None)
    for name in dict.fromkeys(kinds or kept.KINDS):
        console.print(f"cleared {name}: {shown_bytes(kept.clear(name))}")
    show_next(console, "what is left: drnn-deploy cache show")


def _kinds() -> list[dict[str, Any]]:
    from drnn_core.cache import KINDS, cache_folder, entries, limit

    shown = []
    for kind in KINDS.values():
        kept = entries(cache_folder(kind.name))
        shown.append(
            {
                "name": kind.name,
                "what": kind.what,
                "entries": len(kept),
                "bytes": sum(entry.bytes for entry in kept),
                "limit": limit(kind.name),
                "last_used": kept[-1].used if kept else None,
            }
        )
    return shown
