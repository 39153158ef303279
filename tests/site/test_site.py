"""The documentation site in a real browser, as files on a disk: `make docs` builds it and says where it is.

Every page is opened on a phone. It asks no host for anything, has no dead link, no error and nothing that overflows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urldefrag, urlparse

import pytest

from tests.browser import open_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SITE = Path(os.environ.get("DRNN_SITE", "")).resolve()
PAGES = sorted(path for path in SITE.rglob("*.html") if path.name != "404.html") if "DRNN_SITE" in os.environ else []
PHONE, DESK = {"width": 400, "height": 800}, {"width": 1280, "height": 800}
# that pages link to, for readers who have a network
HOSTS = {"github.com", "docs.nvidia.com", "docs.ultralytics.com", "huggingface.co"}
ANCHORS = "() => [...document.querySelectorAll('[id], a[name]')].map(node => node.id || node.name)"
LINKS = "() => [...document.querySelectorAll('a[href]')].map(link => link.href)"
PICTURES = "() => [...document.images].filter(image => !(image.complete && image.naturalWidth)).map(image => image.src)"
WIDE = """width => [...document.querySelectorAll('article *')].filter(node =>
    node.getBoundingClientRect().right > width + 1
    && !node.closest('pre, .md-typeset__scrollwrap, .tabbed-labels, .headerlink')).map(node => node.outerHTML)"""

pytestmark = pytest.mark.skipif("DRNN_SITE" not in os.environ, reason="DRNN_SITE names no built site: make docs")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    yield from open_browser()


class Reader:
    """A tab, and what its pages asked for and complained about since the last one was opened."""

    def __init__(self, browser: Browser, viewport: Any, scheme: Any = "light") -> None:
        self.tab: Page = browser.new_page(viewport=viewport, color_scheme=scheme)
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.tab.on("console", lambda message: self.complaints.append(message.text))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("requestfailed", lambda request: self.complaints.append(f"failed: {request.url}"))
        self.tab.on("request", lambda request: self.asked.append(request.url))

    def open(self, path: Path) -> Page:
        self.complaints, self.asked = [], []
        self.tab.goto(path.as_uri())
        return self.tab

    def abroad(self) -> list[str]:
        return [url for url in self.asked if not url.startswith(("data:", "blob:", SITE.as_uri()))]


@pytest.fixture(scope="module")
def visits(browser: Browser) -> dict[Path, dict[str, Any]]:
    """Each page once, on a phone: all that the tests of the pages ask about."""
    reader, seen = Reader(browser, PHONE), {}
    for path in PAGES:
        tab = reader.open(path)
        seen[path] = {
            "links": tab.evaluate(LINKS),
            "anchors": set(tab.evaluate(ANCHORS)),
            "broken pictures": tab.evaluate(PICTURES),
            "width": tab.evaluate("document.documentElement.scrollWidth"),
            "too wide": tab.evaluate(WIDE, PHONE["width"]),
            "headings": tab.locator("article h1").count(),
            "complaints": reader.complaints,
            "abroad": reader.abroad(),
        }
    reader.tab.close()
    return seen


def test_there_are_pages_of_every_kind() -> None:
    folders = {path.relative_to(SITE).parts[0] for path in PAGES if path.parent != SITE}
    assert folders == {"concepts", "reference", "tutorials"}
    assert len(PAGES) >= 20


def test_no_page_complains_or_asks_another_host(visits: dict[Path, dict[str, Any]]) -> None:
    assert {path: seen for path, seen in visits.items() if seen["complaints"] or seen["abroad"]} == {}


def test_pages_are_readable_on_a_phone(visits: dict[Path, dict[str, Any]]) -> None:
    faults = {
        path.name: (seen["width"], seen["too wide"][:3])
        for path, seen in visits.items()
        if seen["width"] > PHONE["width"] or seen["too wide"] or seen["headings"] != 1
    }
    assert faults == {}


def test_every_picture_is_there(visits: dict[Path, dict[str, Any]]) -> None:
    assert {path.name: seen["broken pictures"] for path, seen in visits.items() if seen["broken pictures"]} == {}


def test_no_link_is_dead(visits: dict[Path, dict[str, Any]]) -> None:
    dead = []
    for page, seen in visits.items():
        for link in seen["links"]:
            place, anchor = urldefrag(link)
            if urlparse(place).scheme in ("http", "https"):
                dead += [(page.name, link)] if urlparse(place).hostname not in HOSTS else []
                continue
            path = Path(unquote(urlparse(place).path))
            known = visits.get(path, {"anchors": set()})["anchors"]
            if not path.is_file() or (anchor and unquote(anchor) not in known and not anchor.startswith("__")):
                dead.append((page.name, link))
    assert sum(len(seen["links"]) for seen in visits.values()) > 300
    assert dead == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system(browser: Browser, scheme: str) -> None:
    tab = Reader(browser, DESK, scheme).open(SITE / "index.html")
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    channels = [int(part) for part in paper.removeprefix("rgb(").removesuffix(")").split(",")]
    assert (sum(channels) / 3 > 200) == (scheme == "light"), paper
    tab.close()


def test_search_answers_without_a_server(browser: Browser) -> None:
    reader = Reader(browser, DESK)
    tab = reader.open(SITE / "index.html")
    tab.locator("input.md-search__input").click()
    tab.keyboard.type("dequantised")
    answers = tab.locator(".md-search-result__item a")
    answers.first.wait_for(timeout=20_000)
    assert any("runtimes.html" in str(link.get_attribute("href")) for link in answers.all())
    assert (reader.complaints, reader.abroad()) == ([], [])
    tab.close()
