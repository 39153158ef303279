"""Names and texts of bundles are shown as what they are, whatever marks of a console or page they are made of."""

from __future__ import annotations

import dataclasses
import html
import io
import re
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from drnn_deploy.cli.console import show_parity, show_tasks
from drnn_deploy.cli.plain_console import PlainConsole
from drnn_deploy.debug.explanation import Deviation, Explanation, StageResult
from drnn_deploy.parity.results import Measured, ParityReport, TaskResult
from drnn_deploy.reports.html import page
from drnn_deploy.reports.junit import junit
from drnn_deploy.reports.markdown import explanations_markdown, markdown
from drnn_deploy.reports.regressions import Regression
from tests.drnn_deploy.reports.made_up import case, report, row

HOSTILE = (
    "[/red]",
    "[link=file:///etc]x[/link]",
    ":bomb:",
    "\x1b[2J\x1b]0;title\x07",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "&lt;b&gt;",
    "a|b\n\n# heading",
    "![x](http://127.0.0.1/)",
    "`code` *bold* _it_ $\\frac{$",
    "\ud800\ufffe",
    "{{ 7 * 7 }}{% raw %}",
    "]]>",
)

MARKDOWN_TAGS = {"h3", "h4", "p", "strong", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "pre", "code"}


def shown_once(text: str) -> str:
    """How a console or page writes it: the same letters, with what cannot be seen spelled."""
    return "\n".join("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) for line in text.split("\n"))


def hostile_report(text: str) -> ParityReport:
    failing = case(text, 100.0)
    bad = dataclasses.replace(row("torch", failing, case("b", 0.5)), caveat=text)
    broken = dataclasses.replace(row("reference"), passed=False, error=text)
    task = TaskResult("torch", text, text, text, 7, {text: Measured(0.5, 0.25)}, 7)
    made = report(bad, broken)
    return dataclasses.replace(made, network=text, notes=(text,), tasks=(task,))


def explanation(text: str) -> Explanation:
    deviation = Deviation(1e-3, 1e4, 1e-6, 7, (1e-7, 2e-5, None))
    return Explanation(
        runtime="torch", graph=text, case=text, culprit=text, verdict=text, findings=(text,), note=text,
        stages=(StageResult(text, text, deviation, deviation),), seen_on=text, command=text, reproduction=text,
    )  # fmt: skip


@pytest.fixture(params=HOSTILE, ids=ascii)
def text(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_console(text: str) -> None:
    console = PlainConsole(file=io.StringIO(), width=10_000, soft_wrap=True)
    made = hostile_report(text)
    show_parity(console, made)
    show_tasks(console, made.tasks)
    console.print(text)
    out = console.file.getvalue()  # type: ignore[attr-defined]
    out.encode()
    assert "\x1b" not in out
    for line in shown_once(text).split("\n"):
        assert line in out


def test_html() -> None:
    """All in one report, whose plots take a while to draw."""
    every = " ".join(HOSTILE)
    made = page({every: hostile_report(every)}, {every: every}, [], every, {every: [explanation(every)]})
    made.encode()
    for tag in ("<script>alert", "<img src=x"):
        assert tag not in made
    for text in HOSTILE:
        assert made.count(html.escape(shown_once(text)).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")) > 10


def test_junit(text: str) -> None:
    root = ElementTree.fromstring(junit({text: hostile_report(text)}))
    assert [suite.get("name") for suite in root] == [shown_once(text)]
    assert [error.get("message") for error in root.iter("error")] == [shown_once(text)]


def test_markdown(text: str) -> None:
    made = markdown({text: hostile_report(text)}) + explanations_markdown({text: [explanation(text)]})
    rendered = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(made)
    assert set(re.findall(r"</?(\w+)", rendered)) <= MARKDOWN_TAGS
    headings = re.findall(r"<h[34]>(.*)</h[34]>", rendered.replace("\u200b", ""))
    assert len(headings) == 2
    for heading in headings:
        assert html.escape(" ".join(shown_once(text).split("\n")), quote=False).replace('"', "&quot;") in heading
    assert rendered.count("<table>") == 3


def test_no_one_is_called_and_nothing_is_linked() -> None:
    made = markdown({"see https://example.org @everyone #12 www.example.org": hostile_report("x")})
    assert not re.search(r"://|@everyone|#12|www\\.example", made)


def test_what_got_worse_fails_in_every_report() -> None:
    worse = [Regression("torch sequence", "error grew from 1 to 20 noises")]
    suites = {suite.get("name"): suite for suite in ElementTree.fromstring(junit({}, worse))}
    assert suites["baseline"].get("failures") == "1"
    assert [failure.get("message") for failure in suites["baseline"].iter("failure")] == [worse[0].what]
    made = markdown({}, worse)
    assert made.startswith("### FAILED: worse than the baseline")
    assert worse[0].what in made
