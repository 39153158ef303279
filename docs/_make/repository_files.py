"""A hook of MkDocs: files of the repository that pages link to, such as results and schemas, become part of the site.

So the links are right in a view of the repository and on the site, which knows no host to send its readers to.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).parents[2]
_LINK = re.compile(r"(?<=\]\()(\.\./[^)#\s]+)")
_SHOWN = {".json", ".svg", ".png"}  # by browsers; all else gets the name of a text, so that it is not downloaded


def on_page_markdown(markdown: str, *, page: Page, config: Any, files: Files) -> str:
    """Point links out of docs/ to copies in the site.

    Args:
        markdown: The page's text.
        page: The page.
        config: MkDocs' configuration.
        files: The files of the site, which get the copies.

    Returns:
        The text with its links rewritten. One to nothing is left, and the strict build fails on it.
    """

    def target(match: re.Match[str]) -> str:
        folder = posixpath.dirname(page.file.src_uri)
        linked = posixpath.normpath(posixpath.join("docs", folder, match.group(1)))
        path = REPOSITORY / linked
        if linked.startswith(("docs/", "..")) or not path.is_file():
            return match.group(1)
        name = f"repository/{linked}" + ("" if path.suffix in _SHOWN else ".txt")
        if files.get_file_from_path(name) is None:
            files.append(File.generated(config, name, content=path.read_bytes()))
        return posixpath.relpath(name, folder or ".")

    return _LINK.sub(target, markdown)
