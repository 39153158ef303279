"""The right bundles that mutants are made of: small networks, one graph each."""

from __future__ import annotations

import dataclasses
from typing import Any

from drnn_deploy import ExportOptions
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from tests.drnn_deploy.debug.mutants.mutant import HERE


@dataclasses.dataclass(frozen=True)
class Base:
    """A right bundle of one graph."""

    spec: ModelSpec
    options: ExportOptions


def _spec(cell: str, head: Head, dilations: tuple[int, ...] = (1, 2, 4), **more: Any) -> ModelSpec:
    more.setdefault("input", Continuous(2))
    return ModelSpec(cell, (4, 5, 6), dilations, head=head, **more)  # type: ignore[arg-type]


def _graph(form: str = "sequence", emission: str = "fused", **more: Any) -> ExportOptions:
    of_form = {"length": 24} if form == "sequence" else {"ring": False}
    settings = {**of_form, "batch": 2, "engines": (), "runtimes": (HERE,), **more}
    return ExportOptions(forms=(form,), emissions=(emission,), **settings)


_LAST, _EVERY, _LAST_K = Head("last", 3), Head("sequence", 3), Head("last_k", 3, 4)
BASES = {
    "gru": Base(_spec("gru", _LAST), _graph()),
    "gru-whole": Base(_spec("gru", _EVERY), _graph(prune=False)),
    "gru-padded": Base(_spec("gru", _EVERY), _graph(prune=False, length=23)),
    "gru-before": Base(_spec("gru", _EVERY, reset="before"), _graph()),
    "gru-unrolled": Base(_spec("gru", _LAST), _graph(emission="unrolled")),
    "gru-step": Base(_spec("gru", _EVERY), _graph("step")),
    "gru-skewed": Base(_spec("gru", _EVERY), _graph("step", "skewed")),
    "lstm": Base(_spec("lstm", _EVERY), _graph()),
    "lstm-chunk": Base(_spec("lstm", _EVERY), _graph("chunk", chunk=6)),
    "lstm-skewed": Base(_spec("lstm", _EVERY), _graph("step", "skewed")),
    "lstm-unrolled": Base(_spec("lstm", _LAST), _graph(emission="unrolled")),
    "lstm-blocked": Base(_spec("lstm", _LAST), _graph(emission="blocked", block=5, length=23)),
    "rnn": Base(_spec("rnn", _LAST_K), _graph()),
    "rnn-unrolled": Base(_spec("rnn", _LAST), _graph(emission="unrolled")),
    "fusion": Base(_spec("rnn", _LAST, (2, 4, 8)), _graph()),
    "fusion-chunk": Base(_spec("rnn", _EVERY, (3, 6, 12)), _graph("chunk", chunk=6)),
    "tokens": Base(_spec("gru", _EVERY, input=Tokens(90, 3)), _graph()),
    "one-hot": Base(_spec("gru", _EVERY, input=Tokens(7)), _graph()),
}  # fmt: skip
