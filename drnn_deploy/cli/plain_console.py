"""A console that shows text as what it is: names in files and bundles are anyone's."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from drnn_core.text import printable


class PlainConsole(Console):
    """Obeys no markup, emoji codes or control characters in any string, also in cells. What has a style is a `Text`.

    Attributes:
        is_log: Whether it is no terminal and has no width of its own, so that a table may be as wide as it is.
    """

    is_log = False

    def __init__(self, **settings: Any) -> None:
        """Make one.

        Args:
            settings: As of `rich.console.Console`.
        """
        super().__init__(**settings, markup=False, emoji=False, highlight=False)

    def on_broken_pipe(self) -> None:
        """Leave it to `drnn_deploy.cli.command`; rich would exit with 1, which is the code of a parity that failed.

        Raises:
            BrokenPipeError: The reader of the output is gone.
        """
        raise BrokenPipeError

    def render_str(self, text: str, **how: Any) -> Text:
        """Make a `Text` of a string, as everything that is printed goes through.

        Args:
            text: Any text.
            how: As of `rich.console.Console`.
        """
        return super().render_str(printable(text), **how)
