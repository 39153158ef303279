"""Random modules with shapes that collide: an import is the original or refused, also where advice is followed."""

from __future__ import annotations

import dataclasses
import re
import shlex
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from drnn_core.errors import DeployError
from drnn_deploy.cli.import_ import import_
from drnn_deploy.importing.import_network import ImportResult, import_network
from drnn_models.interop.choices import Choices
from drnn_runtimes.reference.loop import run_reference
from tests.drnn_deploy.importing.originals import record

_CELLS = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}


@dataclasses.dataclass(frozen=True)
class Plan:
    """A random module.

    Attributes:
        width: Columns of what the first module reads.
        front: "", "linear", "linear without bias", "embedding", "position" (a table added to the input).
        stack: "one", or the connection of two modules: "chain", "reversed" (the second of the list runs first), "sum"
            (both read the input).
        names: What holds the recurrent modules: a list's name, or "" for two attributes.
        between: Whether a linear layer is between two modules.
        head: "", "linear", "linear without bias", "mlp", "gate" (a second linear layer scales the states), "tied".
    """

    cell: str
    width: int
    front: str
    features: int
    hidden: int
    stack: str
    depth: int
    names: str
    between: bool
    head: str
    outputs: int
    norm: bool
    seed: int


_small = st.integers(1, 3)
plans = st.builds(
    Plan,
    cell=st.sampled_from(sorted(_CELLS)),
    width=_small,
    front=st.sampled_from(["", "", "linear", "linear without bias", "embedding", "position"]),
    features=_small,
    hidden=_small,
    stack=st.sampled_from(["one", "one", "chain", "reversed", "sum"]),
    depth=st.integers(1, 2),
    names=st.sampled_from(["", "rnns", "cells", "layers"]),
    between=st.booleans(),
    head=st.sampled_from(["", "linear", "linear", "linear without bias", "mlp", "gate", "tied"]),
    outputs=_small,
    norm=st.sampled_from([False, False, False, True]),
    seed=st.integers(0, 2**31),
)


class Original(nn.Module):
    """The module of a plan. All that it computes leaves a trace in its state dict, or is the order of modules."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        features = plan.features if plan.front.startswith(("linear", "embedding")) else plan.width
        if plan.front.startswith("linear"):
            self.first = nn.Linear(plan.width, features, bias=plan.front == "linear")
        elif plan.front:
            self.first = nn.Embedding(plan.width + 4, features)  # type: ignore[assignment]
        second = features if plan.stack == "sum" else plan.hidden
        sizes = [features] if plan.stack == "one" else [features, second]
        if plan.stack == "reversed":
            sizes.reverse()
        recurrent = [_CELLS[plan.cell](size, plan.hidden, plan.depth, batch_first=True) for size in sizes]
        if plan.names and plan.stack != "one":
            setattr(self, plan.names, nn.ModuleList(recurrent))
        else:
            for name, module in zip(("one", "two"), recurrent, strict=False):
                setattr(self, name, module)
        self.recurrent = tuple(reversed(recurrent) if plan.stack == "reversed" else recurrent)
        if plan.between and plan.stack in ("chain", "reversed"):
            self.middle = nn.Linear(plan.hidden, plan.hidden)
        if plan.norm:
            self.norm = nn.LayerNorm(plan.hidden)
        if plan.head == "mlp":
            self.head = nn.Sequential(nn.Linear(plan.hidden, 2), nn.Tanh(), nn.Linear(2, plan.outputs))
        elif plan.head == "tied" and plan.front == "embedding" and features == plan.hidden:
            self.head = nn.Linear(plan.hidden, plan.width + 4)  # type: ignore[assignment]
            self.head.weight = self.first.weight
        elif plan.head:
            self.head = nn.Linear(plan.hidden, plan.outputs, bias=plan.head == "linear")  # type: ignore[assignment]
        if plan.head == "gate":
            self.gate = nn.Linear(plan.hidden, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, steps, width) or tokens -> (batch, steps, outputs)."""
        x = inputs
        if self.plan.front == "position":
            x = x + self.first.weight[: x.shape[1] % 4 + 1].mean(0)
        elif self.plan.front:
            x = self.first(x)
        if self.plan.stack == "sum":
            x = sum(module(x)[0] for module in self.recurrent)  # type: ignore[assignment]
        else:
            for number, module in enumerate(self.recurrent):
                x = module(self.middle(x) if number and hasattr(self, "middle") else x)[0]
        if self.plan.norm:
            x = self.norm(x)
        if self.plan.head == "gate":
            x = x * self.gate(x).sigmoid()
        return self.head(x) if self.plan.head else x

    def inputs(self) -> Tensor:
        if self.plan.front == "embedding":
            return torch.randint(self.plan.width + 4, (2, 9))
        return torch.randn(2, 9, self.plan.width)


def attempt(file: Path, choices: Choices, **options: Any) -> tuple[ImportResult | None, str]:
    """What was imported, or the advice of the refusal."""
    try:
        return import_network(file, file.parent / "model.pt", choices=choices, force=True, **options), ""
    except DeployError as error:
        assert "--ignore" not in error.fix
        return None, error.fix


def error_of(result: ImportResult, original: Original) -> float:
    """The largest difference from the original, infinite where the inputs or outputs are of other kinds."""
    spec, inputs = result.imported.spec, original.inputs()
    if (spec.input.kind == "tokens") == inputs.is_floating_point() or spec.input.width not in (
        *inputs.shape[2:], *(() if inputs.is_floating_point() else (spec.input.width,)),
    ):  # fmt: skip
        return np.inf
    with torch.no_grad():
        wanted = original.double()(inputs.double() if inputs.is_floating_point() else inputs).numpy()
    outputs = run_reference(spec, result.imported.weights, inputs.numpy()).outputs
    return float(np.abs(outputs - wanted).max()) if outputs.shape == wanted.shape else np.inf


def advised(advice: str) -> list[dict[str, Any]]:
    """What the command makes of each line of options that a message says to type."""
    parsed = []
    for words in re.findall(r"[Tt]ype: (--.*)", advice):
        try:
            with import_.make_context("import", ["file", *shlex.split(words)], resilient_parsing=False) as context:
                parsed.append(dict(context.params))
        except click.ClickException:  # what stands for names that only people know
            continue
    return parsed


@given(plans)
def test_import_is_the_original_or_refused_and_so_is_advice_that_is_followed(plan: Plan) -> None:
    torch.manual_seed(plan.seed)
    original = Original(plan)
    with tempfile.TemporaryDirectory() as folder:
        file, proof = Path(folder) / "weights.pt", Path(folder) / "original.npz"
        torch.save(original.state_dict(), file)
        record(proof, original, original.inputs())
        asked, seen = [({}, Choices())], 0
        while asked and seen < 8:
            given_before, choices = asked.pop()
            seen += 1
            result, advice = attempt(file, choices, **given_before)
            assert result is None or error_of(result, original) < 1e-5, choices
            for params in advised(advice):
                names = {field.name for field in dataclasses.fields(Choices)}
                chosen = {name: value for name, value in params.items() if name in names and value}
                options = {"layout": params["layout"]} if params["layout"] else dict(given_before)
                options["compare"] = proof if params["compare"] else given_before.get("compare")
                asked.append((options, dataclasses.replace(choices, **chosen)))


@pytest.mark.parametrize("plan, options", [
    (Plan("gru", 2, "", 2, 3, "one", 2, "", False, "linear", 1, False, 0), {}),
    (Plan("lstm", 1, "", 1, 3, "one", 1, "", False, "linear", 1, False, 0), {"head_weight": "head"}),
    (Plan("rnn", 3, "embedding", 2, 3, "one", 2, "", False, "linear", 1, False, 0), {"embedding": "first"}),
    (Plan("gru", 2, "", 2, 2, "chain", 1, "", False, "linear", 1, False, 0),
     {"layers": ("one", "two"), "dilations": (1, 1)}),
    (Plan("gru", 2, "", 2, 2, "reversed", 1, "rnns", False, "linear", 1, False, 0),
     {"layers": ("rnns.1", "rnns.0"), "dilations": (1, 1)}),
    (Plan("gru", 2, "", 2, 3, "chain", 2, "rnns", False, "", 1, False, 0), {"dilations": (1, 1, 1, 1)}),
], ids=str)  # fmt: skip
def test_modules_that_a_dilated_rnn_can_express_are_imported(
    plan: Plan, options: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(plan.seed)
    original = Original(plan)
    torch.save(original.state_dict(), tmp_path / "weights.pt")
    record(tmp_path / "original.npz", original, original.inputs())
    for compare in (None, tmp_path / "original.npz"):
        result, advice = attempt(tmp_path / "weights.pt", Choices(**options), compare=compare)
        assert result is not None, advice
        assert error_of(result, original) < 1e-6
