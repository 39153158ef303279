"""The HTML page, in a real browser: plots are there, nothing is fetched, nothing overflows, names are only names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from drnn_deploy.reports.html import page
from drnn_deploy.reports.regressions import Regression
from tests.browser import open_browser
from tests.drnn_deploy.reports.made_up import case, report, row, task
from tests.nightly import combinations

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOSTILE = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
REPORTS = {
    "bundle one": report(
        row("onnxruntime-cpu", case("normal", 1.5), case("ramp", 0.5)),
        row("torch", case("normal", 0.5), case("ramp", 20.0), graph="sequence"),
        row("tensorrt-network", case("normal", None)),
    ),
    HOSTILE: report(row(HOSTILE, case(HOSTILE, 1.0)), tasks=(task(changed=1),)),
}
ENVIRONMENT = {"python": "3.11.7", "numpy": HOSTILE}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    yield from open_browser()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "parity.html"
    worse = [Regression("torch sequence", "error grew from 1 to 20 noises")]
    made = {"date": "2026-01-02 03:04 UTC", "machine": "a processor, 2 cores", "command": f"drnn-parity '{HOSTILE}'"}
    hashes = {"bundle one": {"model.onnx": "0123456789abcdef" * 4}}
    path.write_text(page(REPORTS, ENVIRONMENT, worse, "old.json", made=made, hashes=hashes), encoding="utf-8")
    return path


def test_page_says_when_where_and_of_what_it_was_made(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    made = ("2026-01-02 03:04 UTC", "a processor, 2 cores", "drnn-parity &#39;&lt;script&gt;")
    for words in (*made, "0123456789abcdef" * 4):
        assert words in text


def opened(browser: Browser, file: Path, width: int, scheme: Any) -> tuple[Any, list[str]]:
    """The page, and whatever it asked for or complained about."""
    tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    heard: list[str] = []
    tab.on("request", lambda request: heard.append(request.url) if request.url != file.as_uri() else None)
    tab.on("console", lambda message: heard.append(message.text))
    tab.on("pageerror", lambda error: heard.append(str(error)))
    tab.goto(file.as_uri())
    return tab, heard


@pytest.mark.parametrize(("width", "scheme"), combinations([375, 1200], ["light", "dark"], by_day=3))
def test_page_shows_its_plots_asks_for_nothing_and_fits(browser: Browser, file: Path, width: int, scheme: str) -> None:
    tab, heard = opened(browser, file, width, scheme)
    assert heard == []
    assert tab.title() == "Failed: parity"
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    plots = tab.locator("svg")
    assert plots.count() == 5  # bars of both reports, and a curve for each kind of input
    for index in range(plots.count()):
        box = plots.nth(index).bounding_box()
        assert box is not None
        assert box["width"] > 250
        assert box["height"] > 40
        drawn = "svg => [...svg.querySelectorAll('path')].filter(path => path.getTotalLength() > 1).length"
        assert plots.nth(index).evaluate(drawn) > 3
        assert plots.nth(index).get_attribute("aria-label")
    tab.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_the_paper(browser: Browser, file: Path, scheme: str) -> None:
    """Contrast of at least 4.5 (WCAG 2.2, 1.4.3), in plots as in tables."""
    tab, _ = opened(browser, file, 1200, scheme)
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    for what, prop in (
        ("td", "color"),
        (".good", "color"),
        (".bad", "color"),
        (".remark", "color"),
        ("svg text", "fill"),
    ):
        ink = tab.evaluate(f"getComputedStyle(document.querySelector({what!r})).{prop}")
        assert contrast(ink, paper) >= 4.5, (what, ink, paper)
    tab.close()


def contrast(ink: str, paper: str) -> float:
    """Of two colours like rgb(1, 2, 3): WCAG's relative luminances."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(ink), luminance(paper)))
    return (light + 0.05) / (dark + 0.05)


def test_page_says_what_failed_what_is_worse_and_what_did_not_run(browser: Browser, file: Path) -> None:
    tab, _ = opened(browser, file, 1200, "light")
    text = tab.locator("main").inner_text()
    for words in (
        "Failed: every runtime against float64",
        "torch sequence: error 2.0e-05 where 8.0e-06 passes, on ramp inputs from output step 7",
        "tensorrt-network sequence/fused: a missing, misshapen or not finite output, on normal inputs",
        "Against old.json",
        "torch sequence: error grew from 1 to 20 noises",
        "torch-cuda : there is no GPU. Run on one.",
        "a note",
        "2,100 networks",
    ):
        assert words in text, words
    assert tab.locator("table caption").count() == tab.locator("table").count()
    assert tab.locator("th:not([scope])").count() == 0
    tab.close()


def test_names_are_never_taken_for_markup(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert "<img" not in text


def test_page_refers_to_nothing_outside(file: Path) -> None:
    """But the names of XML's own standards."""
    text = re.sub(r'xmlns(:\w+)?="[^"]+"|<!DOCTYPE[^>]+>', "", file.read_text(encoding="utf-8"))
    assert (
        re.findall(
            r"""https?:|url\((?!#)|<(?:audio|embed|iframe|img|image|object|script|source|video)\b|@import|href=["'](?!#|data:)""",
            text,
        )
        == []
    )
