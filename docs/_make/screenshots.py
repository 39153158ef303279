"""Takes the pictures of the tool at work: python docs/_make/screenshots.py BUNDLE, after `make docs`, with Chromium.

docs/figures/terminal.svg        drnn-parity BUNDLE, as a terminal shows it
docs/figures/report.png          the page that --html writes
docs/figures/site-desk.png, site-phone.png    this documentation
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

REPOSITORY = Path(__file__).parents[2]
FIGURES = REPOSITORY / "docs" / "figures"
_COLUMNS = 118
_MOVES = re.compile(r"\x1b\[\??\d*[A-KhlST]")  # of the cursor
_FONTS = re.compile(r"@font-face \{.*?\}\n", re.DOTALL)  # which rich would fetch from another host


def check(bundle: Path, report: str) -> str:
    """Run drnn-parity in a terminal, in the folder of a bundle: the report shows what was typed.

    Args:
        bundle: The bundle's folder.
        report: The name of the HTML page, which lies beside it then.

    Returns:
        What the terminal got, with its codes for colours.
    """
    typed = f"stty cols {_COLUMNS}; {sys.executable} -m drnn_deploy parity {bundle.name} --html {report}"
    done = subprocess.run(
        ["script", "-qec", typed, "/dev/null"], cwd=bundle.parent, capture_output=True, text=True, check=True
    )
    return _MOVES.sub("", done.stdout).replace("\r\n", "\n")


def main(bundle: str) -> None:
    """Take all of them."""
    from playwright.sync_api import sync_playwright

    from tests.browser import FLAGS

    with tempfile.TemporaryDirectory() as folder:
        copied = Path(shutil.copytree(bundle, Path(folder) / Path(bundle).name))
        report = copied.parent / "parity.html"
        seen = check(copied, report.name)
        console = Console(record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True)
        console.print(Text(f"$ drnn-parity {Path(bundle).name}"))
        lines = [line.split("\r")[-1] for line in seen.splitlines()]
        table = next(place for place, line in enumerate(lines) if Text.from_ansi(line).plain.startswith("runtime "))
        kept = [line for line in lines[table:] if not Text.from_ansi(line).plain.startswith(("not run", "limit"))]
        console.print(Text.from_ansi("\n".join(kept).strip()))
        drawing = _FONTS.sub("", console.export_svg(title="drnn-parity"))
        (FIGURES / "terminal.svg").write_text(drawing, encoding="utf-8")
        site = (REPOSITORY / "build" / "site" / "index.html").as_uri()
        with sync_playwright() as playwright:
            chromium = "/usr/bin/chromium"
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            for name, url, size in (
                ("report", report.as_uri(), (1100, 800)),
                ("site-desk", site, (1280, 800)),
                ("site-phone", site, (400, 800)),
            ):
                tab = browser.new_page(viewport={"width": size[0], "height": size[1]})
                tab.goto(url)
                tab.screenshot(path=FIGURES / f"{name}.png")
            with contextlib.suppress(Exception):
                browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
