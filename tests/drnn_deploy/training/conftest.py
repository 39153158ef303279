"""A tiny recipe's training without interruption, a place for a state, and Ctrl-C as a terminal has it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from drnn_deploy.training.recipe import Recipe
from drnn_deploy.training.training_run import TrainingRun
from tests.drnn_deploy.training.tiny import finished, recipe_of


@pytest.fixture(scope="session")
def whole_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Recipe], TrainingRun]:
    """A recipe trained without interruption, once for all tests; they change nothing in it."""
    trained: list[tuple[Recipe, TrainingRun]] = []

    def train_whole(recipe: Recipe) -> TrainingRun:
        for other, run in trained:
            if other == recipe:
                return run
        trained.append((recipe, finished(TrainingRun.start(recipe), tmp_path_factory.mktemp("whole") / "state.pt")))
        return trained[-1][1]

    return train_whole


@pytest.fixture
def whole(whole_of: Callable[[Recipe], TrainingRun]) -> TrainingRun:
    return whole_of(recipe_of())


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C raises, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def threads() -> Iterator[None]:
    """PyTorch's threads, which a test may set, are as before after it."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "run" / "state.pt"
