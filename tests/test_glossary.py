"""The glossary has the words that people meet: styles, forms, and titles of tables that are no everyday words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import click
import pytest

from drnn_core.types import Emission, Form, style_of
from drnn_deploy.cli.export import export
from drnn_deploy.cli.options import GraphStyle
from drnn_deploy.cli.plan import plan
from drnn_deploy.cli.suggest import _COLUMNS

PAGE = (Path(__file__).parents[1] / "docs" / "glossary.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]
TERMS = {term.strip() for row in ROWS for term in row[0].split(",")}


@pytest.mark.parametrize("word", get_args(Emission))
def test_every_style_has_its_term_and_its_word_in_files(word: str) -> None:
    term = style_of(word)
    assert [row[2] for row in ROWS if row[0] == term] == [f"`{word}`"]


def test_forms_and_unusual_titles_are_there() -> None:
    (form,) = (row[1] for row in ROWS if row[0] == "form")
    assert set(get_args(Form)) <= set(re.findall(r"`(\w+)`", form))
    assert {"sequential steps", "MACs"} <= TERMS & {column.title for column in _COLUMNS}


@pytest.mark.parametrize("word", get_args(Emission))
@pytest.mark.parametrize("option", ["--style", "--emission"])
def test_both_names_and_both_words_mean_the_same(option: str, word: str) -> None:
    for typed in {word, style_of(word)}:
        context = export.make_context("drnn-export", ["model.pt", option, typed])
        assert context.params["emissions"] == (word,)


def test_only_the_terms_are_shown() -> None:
    text = " ".join(export.get_help(click.Context(export)).split())
    assert "--style [operator|unrolled|mixed|pipelined|blocked|plugin]" in text
    assert "--emission" not in text
    with pytest.raises(click.BadParameter, match="operator"):
        GraphStyle().convert("fast", None, None)
    assert isinstance(plan, click.Command)
