"""Training: what an interruption of any kind leaves behind, and that going on from it changes nothing."""

from __future__ import annotations

import itertools
import json
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import drnn_deploy
from drnn_core import memory
from drnn_core.errors import InputError
from drnn_deploy import datasets
from drnn_deploy.tasks import pixel_mnist
from drnn_deploy.training import loop
from drnn_deploy.training.loop import evaluate, finished_checkpoint, train
from drnn_deploy.training.recipe import Recipe, load_recipe
from drnn_deploy.training.stops import terminable
from drnn_deploy.training.training_run import Progress, TrainingRun
from drnn_models.checkpoint import load_checkpoint
from drnn_models.plain_files import load_plain

Command = Callable[..., Any]  # see conftest
REPOSITORY = Path(drnn_deploy.__file__).resolve().parents[1]
ROOTS = [REPOSITORY, *(REPOSITORY / name for name in ("export", "models", "runtimes"))]

TINY = (
    "data.delay=5",
    "model.hidden=[4]",
    "model.dilations=[2]",
    "training.iterations=50",
    "training.batch=4",
    "training.evaluate_every=30",
    "training.stop_below=0.0",
)
SET = [word for entry in TINY for word in ("--set", entry)]


def recipe_of(*changes: str) -> Recipe:
    return load_recipe("copy-memory", None, [*TINY, *changes])


def lines(run: TrainingRun) -> list[tuple[int, float, dict[str, float] | None]]:
    """The log without its times."""
    return [(line.iteration, line.loss, line.validation) for line in run.log]


def finished(run: TrainingRun, state: Path) -> TrainingRun:
    for _ in train(run, state):
        pass
    return run


def assert_same_end(one: TrainingRun, other: TrainingRun) -> None:
    """Losses, metrics and weights to the last bit."""
    assert one.iteration == other.iteration
    assert lines(one) == lines(other)
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name]), name


@pytest.fixture(scope="module")
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


RECIPES = pytest.mark.parametrize(
    "recipe", [
        recipe_of(), recipe_of("training.optimizer=rmsprop", "training.schedule=cosine", "seed=0"),
        recipe_of("training.dropout=0.2"),
    ], ids=["adam", "rmsprop with a schedule", "dropout"],
)  # fmt: skip


@pytest.fixture(autouse=True)
def ctrl_c() -> Iterator[None]:
    """Ctrl-C raises, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "run" / "state.pt"


@RECIPES
def test_same_recipe_trains_the_same(recipe: Recipe, state: Path, whole_of: Callable[[Recipe], TrainingRun]) -> None:
    run = finished(TrainingRun.start(recipe), state)
    assert_same_end(run, whole_of(recipe))
    assert [line.iteration for line in run.log] == [20, 30, 40, 50]
    assert [line.iteration for line in run.log if line.validation] == [30]


def test_seed_makes_the_difference(tmp_path: Path) -> None:
    one, other = (finished(TrainingRun.start(recipe_of(f"seed={seed}")), tmp_path / "state.pt") for seed in (1, 2))
    assert lines(one) != lines(other)


def test_losses_are_the_means_of_all_iterations(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    step = loop.take_step

    def remember(*arguments: Any) -> torch.Tensor:
        loss = step(*arguments)
        seen.append(float(loss))
        return loss

    monkeypatch.setattr(loop, "take_step", remember)
    run = finished(TrainingRun.start(recipe_of()), state)
    starts = [0, *(line.iteration for line in run.log)]
    for line, start in zip(run.log, starts, strict=False):
        assert line.loss == pytest.approx(np.mean(seen[start : line.iteration]))


def test_training_learns(state: Path) -> None:
    run = finished(TrainingRun.start(recipe_of("training.iterations=200", "training.learning_rate=1e-2")), state)
    assert run.log[-1].loss < 0.9 * run.log[0].loss


@RECIPES
@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_stopping_after_a_line_and_going_on_changes_nothing(
    recipe: Recipe, state: Path, after: int, whole_of: Callable[[Recipe], TrainingRun]
) -> None:
    run = TrainingRun.start(recipe)
    steps = train(run, state)
    for _ in range(after):
        next(steps)
    steps.close()  # type: ignore[attr-defined]
    resumed = finished(TrainingRun.resume(state, recipe), state)
    assert_same_end(resumed, whole_of(recipe))


class Interrupt:
    """Calls a function, with Ctrl-C on its `at`-th call: before it, or in the middle where that is what it does."""

    def __init__(
        self, function: Callable[..., Any], at: int, *, before: bool, stop: signal.Signals = signal.SIGINT
    ) -> None:
        self.function, self.at, self.before, self.stop, self.calls = function, at, before, stop, 0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.calls += 1
        if self.calls == self.at and self.before:
            raise KeyboardInterrupt
        result = self.function(*arguments, **named)
        if self.calls == self.at:
            signal.raise_signal(self.stop)
        return result


def interrupted(run: TrainingRun, state: Path) -> TrainingRun:
    with pytest.raises(KeyboardInterrupt):
        finished(run, state)
    return TrainingRun.resume(state, run.recipe)


@pytest.mark.parametrize("at", [1, 20, 21, 27, 30, 31, 50])
def test_ctrl_c_before_a_step_loses_nothing(
    state: Path, whole: TrainingRun, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(loop, "take_step", Interrupt(loop.take_step, at, before=True))
        resumed = interrupted(TrainingRun.start(recipe_of()), state)
    assert resumed.iteration == at - 1
    assert_same_end(finished(resumed, state), whole)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", [1, 20, 27, 50])
def test_a_stop_in_the_middle_of_a_step_waits_for_its_end(
    state: Path, whole: TrainingRun, stop: signal.Signals, at: int
) -> None:
    """The weights have changed and the iteration is not counted: saved like this, the step would be taken twice."""
    run = TrainingRun.start(recipe_of())
    run.optimizer.step = Interrupt(run.optimizer.step, at, before=False, stop=stop)  # type: ignore[method-assign]
    with terminable():
        resumed = interrupted(run, state)
    assert resumed.iteration == at
    assert_same_end(finished(resumed, state), whole)


def test_ctrl_c_works_again_after_training(state: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with terminable():
        finished(TrainingRun.start(recipe_of()), state)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_ctrl_c_while_validating_loses_nothing(
    state: Path, whole: TrainingRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(loop, "evaluate", Interrupt(evaluate, 1, before=True))
        resumed = interrupted(TrainingRun.start(recipe_of()), state)
    assert (resumed.iteration, len(resumed.log)) == (30, 1)
    assert_same_end(finished(resumed, state), whole)


def test_training_goes_on_from_every_state_that_is_saved(
    state: Path, whole: TrainingRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_SAVE_SECONDS", 0.0)
    saved: list[bytes] = []
    for _ in train(TrainingRun.start(recipe_of()), state):
        saved += [state.read_bytes()] if state.exists() else []
    assert len(saved) == 4
    for content in saved:
        state.write_bytes(content)
        assert_same_end(finished(TrainingRun.resume(state, recipe_of()), state), whole)


def test_state_is_saved_before_a_validation_and_between_slow_steps(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A validation of minutes, or twenty steps of a minute each, must not be lost work."""
    seen: list[int] = []

    def validate(*_: object) -> dict[str, float]:
        seen.append(TrainingRun.resume(state, recipe_of()).iteration)
        return {"accuracy": 0.0, "cross_entropy": 1.0}

    monkeypatch.setattr(loop, "evaluate", validate)
    next(line for line in train(TrainingRun.start(recipe_of()), state) if line.validation)
    assert seen == [30]
    monkeypatch.setattr(loop, "_SAVE_SECONDS", 0.0)
    step, run = loop.take_step, TrainingRun.start(recipe_of())

    def watched(run: TrainingRun, task: Any) -> torch.Tensor:
        seen.append(TrainingRun.resume(state, recipe_of()).iteration if run.iteration else 0)
        return step(run, task)

    monkeypatch.setattr(loop, "take_step", watched)
    next(train(run, state))
    assert seen[1:] == list(range(20))


def test_finished_training_has_nothing_left_to_do(state: Path, whole: TrainingRun) -> None:
    finished(TrainingRun.start(recipe_of()), state)
    resumed = TrainingRun.resume(state, recipe_of())
    assert list(train(resumed, state)) == []
    assert_same_end(resumed, whole)


def test_solved_training_stops_and_stays_solved(state: Path) -> None:
    recipe = recipe_of("training.stop_below=10.0")
    run = finished(TrainingRun.start(recipe), state)
    assert (run.iteration, run.solved) == (30, True)
    resumed = TrainingRun.resume(state, recipe)
    assert resumed.solved
    assert list(train(resumed, state)) == []


def test_time_ends_a_training_and_takes_its_schedule_to_the_end(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count()
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(now))
    run = TrainingRun.start(recipe_of("training.schedule=cosine", "training.learning_rate=1e-2"))
    run.seconds_allowed = 40.0
    rates: list[float] = []
    step = run.optimizer.step

    def seen(*arguments: Any) -> Any:
        rates.append(run.optimizer.param_groups[0]["lr"])
        return step(*arguments)

    run.optimizer.step = seen  # type: ignore[method-assign]
    finished(run, state)
    assert run.iteration == len(rates) < 30
    assert run.log[-1].iteration == run.iteration
    assert rates == sorted(rates, reverse=True) and rates[0] == 1e-2 and rates[-1] < 1e-3
    resumed = TrainingRun.resume(state)
    resumed.seconds_allowed = 40.0
    assert list(train(resumed, state)) == []


# states that are not this training's


@pytest.mark.parametrize("change", ["seed=2", "training.learning_rate=2e-3", "training.iterations=51", "data.delay=6"])
def test_state_of_another_recipe_is_refused(state: Path, change: str) -> None:
    TrainingRun.start(recipe_of()).save(state)
    with pytest.raises(InputError, match="belongs to a training with other settings") as refusal:
        TrainingRun.resume(state, recipe_of(change))
    assert "--output" in refusal.value.fix


def _without(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda contents: {name: value for name, value in contents.items() if name != key}


def changed(contents: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """With another value at a place in the optimizer's part."""
    *parents, last = path
    at = contents["optimizer"]
    for key in parents:
        at = at[key]
    at[last] = value
    return contents


DAMAGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    **{f"no {key}": _without(key) for key in ("format", "recipe", "model", "optimizer", "iteration", "seconds", "log")},
    "no weights": lambda contents: {**contents, "model": {}},
    "weights of another shape": lambda contents: {
        **contents, "model": {name: value[:1] for name, value in contents["model"].items()},
    },
    "optimizer of another kind": lambda contents: {**contents, "optimizer": {}},
    "iteration that is text": lambda contents: {**contents, "iteration": "many"},
    "log of numbers": lambda contents: {**contents, "log": [1]},
    "losses that are no tensor": lambda contents: {**contents, "losses": [1.0]},
    "losses without end": lambda contents: {**contents, "losses": torch.zeros(1).expand(10**13)},
    "losses of two axes without end": lambda contents: {**contents, "losses": torch.zeros(1).expand(10**7, 10**7)},
    "a moment that is one number seen as many": lambda contents: changed(
        contents, ("state", 0, "exp_avg"), torch.zeros(1).expand(contents["optimizer"]["state"][0]["exp_avg"].shape)
    ),
    "iteration below 0": lambda contents: {**contents, "iteration": -1},
    "iteration that is true": lambda contents: {**contents, "iteration": True},
    "iteration beyond the end": lambda contents: {**contents, "iteration": 10**9},
    "seconds that are no number": lambda contents: {**contents, "seconds": math.nan},
    "weights that are NaN": lambda contents: {
        **contents, "model": {name: value * math.nan for name, value in contents["model"].items()},
    },
    "a line of the log with text": lambda contents: {**contents, "log": [{**contents["log"][0], "loss": "low"}]},
    "a line of the log with other metrics": lambda contents: {
        **contents, "log": [{**contents["log"][0], "validation": {"x": 1.0}}],
    },
    "a rate that is text": lambda contents: changed(contents, ("param_groups", 0, "lr"), "fast"),
    "betas that are text": lambda contents: changed(contents, ("param_groups", 0, "betas"), "ab"),
    "moments of a weight that is not there": lambda contents: changed(contents, ("state", 999), {}),
    "moments of another shape": lambda contents: changed(contents, ("state", 0, "exp_avg"), torch.zeros(1)),
    "moments that are infinite": lambda contents: changed(contents, ("state", 0, "step"), torch.tensor(math.inf)),
    "moments of another optimizer": lambda contents: changed(contents, ("state", 0), {"square_avg": torch.zeros(1)}),
    "a list": lambda contents: [contents],
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The state file of a training with moments and a log."""
    state = tmp_path_factory.mktemp("trained") / "state.pt"
    next(train(TrainingRun.start(recipe_of()), state))
    for _ in train(TrainingRun.resume(state, recipe_of()), state):
        pass
    return state.read_bytes()


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_state_is_refused(state: Path, damage: str, trained: bytes) -> None:
    state.parent.mkdir()
    state.write_bytes(trained)
    torch.save(DAMAGES[damage](load_plain(state)), state)
    with pytest.raises(InputError, match="state") as refusal:
        TrainingRun.resume(state, recipe_of())
    assert str(state) in refusal.value.message
    assert refusal.value.fix


def test_state_cut_short_is_refused(state: Path) -> None:
    TrainingRun.start(recipe_of()).save(state)
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be read"):
        TrainingRun.resume(state, recipe_of())


def test_state_saved_before_losses_were_kept_still_resumes(state: Path) -> None:
    run = TrainingRun.start(recipe_of())
    run.save(state)
    torch.save(_without("losses")(load_plain(state)), state)
    assert TrainingRun.resume(state, recipe_of()).losses == []


# divergence

DIVERGES = ("training.learning_rate=1e6", "model.activation=relu")


def all_finite(state: Path) -> bool:
    return all(bool(torch.isfinite(value).all()) for value in load_plain(state)["model"].values())


def test_training_that_diverges_says_so_and_keeps_no_broken_state(state: Path) -> None:
    with pytest.raises(InputError, match=r"the training diverged: the loss is (nan|inf) at iteration 20") as refusal:
        finished(TrainingRun.start(recipe_of(*DIVERGES)), state)
    assert "--set training.learning_rate=" in refusal.value.fix
    assert not state.exists() or all_finite(state)


def test_divergence_leaves_the_last_good_state(state: Path) -> None:
    run = TrainingRun.start(recipe_of())
    with pytest.raises(InputError, match="diverged"):
        for line in train(run, state):
            if line.iteration == 30:
                run.optimizer.param_groups[0]["lr"] = 1e37
    assert all_finite(state)
    assert TrainingRun.resume(state, recipe_of()).iteration == 30


def test_weights_that_break_in_the_last_step_are_noticed(state: Path) -> None:
    """The loss of a step is computed before its update, so it alone would not tell."""
    run = TrainingRun.start(recipe_of("training.iterations=30"))
    step = run.optimizer.step

    def breaks_at_the_end() -> None:
        step()
        if run.iteration == 29:
            with torch.no_grad():
                run.model.head.bias.fill_(float("nan"))

    run.optimizer.step = breaks_at_the_end  # type: ignore[method-assign, assignment]
    with pytest.raises(InputError, match="diverged"):
        finished(run, state)
    assert not state.exists()


# the command


def test_command_writes_checkpoint_log_and_curve(command: Command, tmp_path: Path, whole: TrainingRun) -> None:
    out = tmp_path / "out [1]"
    ran = command("drnn-deploy", "train", "copy-memory", *SET, "--output", out)
    assert (ran.code, ran.err) == (0, "")
    assert sorted(path.name for path in out.iterdir()) == ["curve.png", "log.json", "model.pt", "state.pt"]
    assert f"wrote {out / 'model.pt'}" in ran.out
    log = json.loads((out / "log.json").read_text(encoding="utf-8"))
    assert log["recipe"] == recipe_of().to_json()
    assert [(line["iteration"], line["loss"], line["validation"]) for line in log["log"]] == lines(whole)
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")
    checkpoint = load_checkpoint(out / "model.pt")
    assert checkpoint.task == {"name": "copy-memory", "length": 25, "options": {"delay": 5}}
    assert checkpoint.metrics == evaluate(whole.model, recipe_of().make_task(), "test")
    assert checkpoint.provenance["recipe"] == recipe_of().to_json()
    assert checkpoint.examples is not None and checkpoint.examples.inputs.shape == (20, 25)
    for name, value in whole.model.state_dict().items():
        np.testing.assert_array_equal(checkpoint.weights[name], value.numpy())
    exported = command(out / "model.pt", "--output", tmp_path / "bundle", "--engine", "none")
    assert exported.code == 0


def test_second_training_in_the_same_folder_is_refused(command: Command, tmp_path: Path) -> None:
    words = ("drnn-deploy", "train", "copy-memory", *SET, "--output", tmp_path / "out")
    refused = command(*words, "--resume")
    assert refused.code == 2
    assert "holds no training to resume" in refused.err
    assert not (tmp_path / "out").exists()
    assert command(*words).code == 0
    before = (tmp_path / "out" / "model.pt").read_bytes()
    refused = command(*words)
    assert refused.code == 2
    assert "holds an earlier training of copy-memory" in refused.err
    assert "--resume" in refused.err
    assert (tmp_path / "out" / "model.pt").read_bytes() == before


def test_divergence_is_exit_code_2_without_a_checkpoint(command: Command, tmp_path: Path) -> None:
    out, diverges = tmp_path / "out", [word for entry in DIVERGES for word in ("--set", entry)]
    ran = command("drnn-deploy", "train", "copy-memory", *SET, *diverges, "--output", out)
    assert ran.code == 2
    assert "the training diverged" in ran.err
    assert "training.learning_rate=3e-4" in ran.err
    assert not (out / "model.pt").exists()


@pytest.mark.parametrize("words, says", [
    (("mnist",), "there is no task 'mnist'"),
    (("copy-memory", "--set", "training.bacth=4"), "bacth"),
    (("copy-memory", "--config", "missing.toml"), "missing.toml"),
    (("pixel-mnist", "--set", "training.batch=4"), "drnn-deploy data fetch pixel-mnist"),
])  # fmt: skip
def test_training_that_cannot_start(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], says: str
) -> None:
    monkeypatch.setenv("DRNN_DATA", str(tmp_path / "no data"))
    monkeypatch.chdir(tmp_path)
    ran = command("drnn-deploy", "train", *words)
    assert ran.code == 2
    assert says in ran.err


def test_cuda_without_a_gpu_is_refused(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    ran = command("drnn-deploy", "train", "copy-memory", "--device", "cuda", "--output", tmp_path / "out")
    assert ran.code == 2
    assert "finds no CUDA device" in ran.err
    assert "--device cpu" in ran.err


def test_pixel_mnist_trains_end_to_end(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    for prefix, count in (("train", 12), ("t10k", 21)):
        for kind, array in (
            ("images-idx3", random.integers(0, 256, (count, 28, 28))),
            ("labels-idx1", np.arange(count) % 10),
        ):
            head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
            (tmp_path / f"{prefix}-{kind}-ubyte").write_bytes(head + array.astype(np.uint8).tobytes())
    monkeypatch.setattr(datasets, "folder", lambda name: tmp_path)
    monkeypatch.setattr(pixel_mnist, "_VALIDATION", 4)
    tiny = ("model.cell=gru", "model.hidden=[3]", "model.dilations=[64]", "training.batch=2", "training.iterations=3")
    words = [word for entry in (*tiny, "data.permuted=true") for word in ("--set", entry)]
    assert command("drnn-deploy", "train", "pixel-mnist", *words, "--output", tmp_path / "out").code == 0
    checkpoint = load_checkpoint(tmp_path / "out" / "model.pt")
    assert checkpoint.task == {"name": "pixel-mnist", "length": 784, "options": {"permuted": True}}
    assert set(checkpoint.metrics) == {"accuracy", "cross_entropy"}
    assert checkpoint.metrics["accuracy"] * 21 == pytest.approx(round(checkpoint.metrics["accuracy"] * 21))


# processes that end before their time

LONG = [*SET, "--set", "training.iterations=100000", "--threads", "1"]


def start(tmp_path: Path, code: str, *words: str) -> subprocess.Popen[str]:
    """`drnn-deploy WORDS` in a process of its own, after running `code` in it."""
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"from drnn_deploy.training import loop\n{code}\n"
        "from drnn_deploy.cli import main\nmain()\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, ROOTS))}
    return subprocess.Popen(
        [sys.executable, "-c", program, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment,
    )  # fmt: skip


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300  # machines may be busy
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killed_process_leaves_a_state_that_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with start(tmp_path, "loop._SAVE_SECONDS = 0", "train", "copy-memory", *LONG, "--output", "out") as process:
        wait_for(out / "state.pt", process)
        time.sleep(0.3)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    recipe = recipe_of("training.iterations=100000")
    resumed = TrainingRun.resume(out / "state.pt", recipe)
    assert 0 < resumed.iteration < 100_000
    whole = TrainingRun.start(recipe)
    until = resumed.iteration + 100
    for run in (resumed, whole):
        for line in train(run, tmp_path / "other.pt"):
            if line.iteration >= until:
                break
    assert_same_end(resumed, whole)


@pytest.mark.nightly  # by day in this process, above
@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_have_exit_codes_and_name_the_command_that_goes_on(
    stop: signal.Signals,
    code: int,
    command: Command,
    tmp_path: Path,
    whole: TrainingRun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = (
        "import pathlib, time; step = loop.take_step\n"
        "def slow(*a): time.sleep(0.05); pathlib.Path('started').touch(); return step(*a)\n"
        "loop.take_step = slow"
    )
    with start(tmp_path, slow, "train", "copy-memory", *SET, "--output", "my run") as process:
        wait_for(tmp_path / "started", process)
        process.send_signal(stop)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, "")
    stopped, message = out.strip().splitlines()[-2:]
    assert stopped.startswith("stopped at iteration ")
    assert (tmp_path / "my run" / "state.pt").is_file()
    assert not (tmp_path / "my run" / "model.pt").exists()
    name, *words = shlex.split(message.partition("go on with: ")[2])
    assert name == "drnn-deploy"
    monkeypatch.chdir(tmp_path)
    assert command(name, *words).code == 0
    log = json.loads((tmp_path / "my run" / "log.json").read_text(encoding="utf-8"))["log"]
    assert [(line["iteration"], line["loss"], line["validation"]) for line in log] == lines(whole)


@pytest.mark.parametrize(
    "model",
    [
        ["cell=rnn"],
        ["cell=gru"],
        ["cell=gru", "reset=before"],
        ["cell=lstm"],
        *(["network=skip", f"cell={cell}"] for cell in ("rnn", "gru", "lstm")),
    ],
    ids=" ".join,
)
def test_bf16_computes_in_bfloat16_and_keeps_float32_weights(model: list[str], tmp_path: Path) -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        run = TrainingRun.start(recipe_of(*(f"model.{entry}" for entry in model), f"training.precision={precision}"))
        first = next(train(run, tmp_path / f"{precision}.pt"))
        losses[precision] = first.loss
        assert {value.dtype for value in run.model.state_dict().values()} == {torch.float32}
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=2e-2)


@pytest.mark.parametrize("allowed", [False, True])
def test_tf32_is_off_unless_the_recipe_asks_for_it(allowed: bool, state: Path) -> None:
    """Forward and backward passes, which cuDNN may round by torch's default; validation never."""
    seen: dict[str, set[tuple[str, str]]] = {"training": set(), "validation": set()}

    def look(*_: object) -> None:
        where = "training" if torch.is_grad_enabled() else "validation"
        switches = (torch.backends.cudnn.rnn, torch.backends.cuda.matmul)
        seen[where].add(tuple(switch.fp32_precision for switch in switches))  # type: ignore[arg-type]

    def backward(tensor: torch.Tensor, real: Any = torch.Tensor.backward) -> None:
        look()
        real(tensor)

    before = torch.backends.cudnn.rnn.fp32_precision
    run = TrainingRun.start(recipe_of(f"training.tf32={str(allowed).lower()}", "training.evaluate_every=20"))
    run.model.register_forward_hook(look)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "backward", backward)
        next(train(run, state))
    during = "tf32" if allowed else "ieee"
    assert seen == {"training": {(during, during)}, "validation": {("ieee", "ieee")}}
    assert torch.backends.cudnn.rnn.fp32_precision == before


# evaluation


def test_evaluation_is_over_the_whole_split_in_batches_of_any_size() -> None:
    run = TrainingRun.start(recipe_of())
    task, done = run.recipe.make_task(), list[int]()
    metrics = evaluate(run.model, task, "test", tick=done.append)
    assert done == [500, 500, 24]
    assert evaluate(run.model, task, "test", size=1024) == pytest.approx(metrics, rel=1e-6)
    assert evaluate(run.model, task, "validation") != metrics


def test_checkpoint_of_a_finished_run_says_where_it_comes_from(whole: TrainingRun) -> None:
    checkpoint = finished_checkpoint(whole)
    assert checkpoint.provenance["iterations"] == 50
    assert checkpoint.provenance["device"] == "cpu"
    assert set(checkpoint.provenance["versions"]) == {"torch", "numpy", "python"}


def test_progress_counts_the_seconds_of_all_runs(state: Path) -> None:
    run = TrainingRun.start(recipe_of())
    run.seconds = 1000.0
    first: Progress = next(train(run, state))
    assert 1000.0 < first.seconds < 1060.0


# requests that no machine has the memory for


@pytest.mark.parametrize("change", ["training.batch=1000000000000", "model.hidden=[1000000]", "data.delay=1000000"])
def test_step_that_this_machine_has_no_memory_for_is_not_begun(
    change: str, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 1 << 30)
    with pytest.raises(InputError, match=r"would take about .*B of memory.*has 1\.07 GB free") as refusal:
        TrainingRun.start(recipe_of(change))
    assert refusal.value.fix
    assert not state.exists()
