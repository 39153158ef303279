"""An untrained network for copy memory, and a bundle of it in two emissions and two precisions."""

from __future__ import annotations

import pytest

from drnn_deploy import ExportOptions, export
from drnn_deploy.tasks import make_task
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle import Bundle
from tests.networks import random_weights

DELAY = 7


@pytest.fixture(scope="session")
def copier() -> Checkpoint:
    """An untrained network for copy memory of seven blanks, without examples."""
    task = make_task("copy-memory", {"delay": DELAY})
    spec = ModelSpec("rnn", (6, 6), (1, 4), task.input, task.head)
    described = {"name": task.name, "length": task.length, "options": {"delay": DELAY}}
    return Checkpoint(spec, random_weights(spec, 3), described)


@pytest.fixture(scope="session")
def several(copier: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of it with whole sequences in two emissions and two precisions."""
    options = ExportOptions(emissions=("fused", "unrolled"), precisions=("fp32", "fp16"), engines=(), runtimes=())
    return export(copier, tmp_path_factory.mktemp("matrix") / "bundle", options).bundle
