"""A recorded step changes the weights as PyTorch does, for other batches and rates too; else it is not used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from drnn_core.errors import InputError
from drnn_deploy.training import recorded_step, step
from drnn_deploy.training.kernel import choose_kernel
from drnn_deploy.training.loop import train
from drnn_deploy.training.recipe import Recipe, load_recipe
from drnn_deploy.training.training_run import TrainingRun
from drnn_models.baseline_modules import make_network
from tests.cuda_graph_tape import Clock, TapeRecorder, record_on_the_cpu

SMALL = (
    "data.delay=3", "training.batch=5", "training.iterations=12", "training.evaluate_every=6", "model.hidden=[4,3]",
    "model.dilations=[1,2]", "training.kernel=torch", "training.schedule=cosine",
)  # fmt: skip


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> TapeRecorder:
    return record_on_the_cpu(monkeypatch)


def graphed(recipe: Recipe) -> TrainingRun:
    run = TrainingRun.start(recipe)
    run.kernel = "graph"
    return run


def losses(run: TrainingRun, folder: Path) -> list[float]:
    return [line.loss for line in train(run, folder / "state.pt")]


def weights(run: TrainingRun) -> torch.Tensor:
    return torch.cat([value.flatten() for value in run.model.state_dict().values()])


@pytest.mark.parametrize(
    ("cell", "optimizer"),
    [("rnn", "adam"), ("rnn", "rmsprop"), ("lstm", "adam"), pytest.param("gru", "adam", marks=pytest.mark.nightly)],
)
def test_a_training_of_recorded_steps_is_pytorchs_but_for_rounding(
    cell: str, optimizer: str, tmp_path: Path, recorder: TapeRecorder
) -> None:
    recipe = load_recipe("copy-memory", None, [*SMALL, f"model.cell={cell}", f"training.optimizer={optimizer}"])
    plain, run = TrainingRun.start(recipe), graphed(recipe)
    assert losses(run, tmp_path) == pytest.approx(losses(plain, tmp_path), rel=1e-5)
    assert (run.kernel, recorder.records, recorder.repeats) == ("graph", 1, recipe.training.iterations - 2)
    torch.testing.assert_close(weights(run), weights(plain), rtol=0, atol=1e-5)


@pytest.mark.parametrize("change", ["training.precision=bf16", "model.network=skip", "data.delay=4"])
def test_so_is_one_in_bfloat16_and_of_another_network(change: str, tmp_path: Path, recorder: TapeRecorder) -> None:
    recipe = load_recipe("copy-memory", None, [*SMALL, change])
    assert losses(graphed(recipe), tmp_path) == pytest.approx(losses(TrainingRun.start(recipe), tmp_path), rel=1e-4)
    assert recorder.records == 1


def test_it_goes_on_from_its_state_with_and_without_a_graph(tmp_path: Path, recorder: TapeRecorder) -> None:
    recipe = load_recipe("copy-memory", None, [*SMALL])
    whole = losses(TrainingRun.start(recipe), tmp_path)
    for kernel in ("graph", "torch"):
        steps = train(graphed(recipe), tmp_path / f"{kernel}.pt")
        begun = [next(steps).loss]
        steps.close()
        run = TrainingRun.resume(tmp_path / f"{kernel}.pt", recipe)
        run.kernel = kernel
        assert [*begun, *losses(run, tmp_path)] == pytest.approx(whole, rel=1e-5)
    assert recorder.records == 3


def test_a_step_that_reads_the_device_is_not_recorded(
    tmp_path: Path, recorder: TapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_a_look(outputs: torch.Tensor, targets: torch.Tensor, count: int | None = None) -> torch.Tensor:
        loss = entropy(outputs, targets, count)
        assert loss.item() > 0
        return loss

    recipe = load_recipe("copy-memory", None, SMALL)
    plain = losses(TrainingRun.start(recipe), tmp_path)
    entropy = recorded_step.update.__globals__["cross_entropy"]
    monkeypatch.setitem(recorded_step.update.__globals__, "cross_entropy", with_a_look)
    run = graphed(recipe)
    with pytest.warns(RuntimeWarning, match=r"goes on without a CUDA graph: a step cannot be recorded: aten"):
        assert losses(run, tmp_path) == pytest.approx(plain, rel=1e-5)
    assert (run.kernel, recorder.repeats) == ("torch", 0)


def test_a_recorded_step_that_does_something_else_is_not_used(
    tmp_path: Path, recorder: TapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the half of the learning rate, as of a constant that was recorded."""
    recipe = load_recipe("copy-memory", None, SMALL)
    plain = losses(TrainingRun.start(recipe), tmp_path)
    record = recorder.record

    def wrong(work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Callable[[], None]]:
        loss, repeat = record(work)
        rate = run.recorded._rate  # type: ignore[union-attr]
        return loss, lambda: (rate.mul_(0.5), repeat())[1]

    monkeypatch.setattr(recorder, "record", wrong)
    run = graphed(recipe)
    with pytest.warns(RuntimeWarning, match=r"deviates from PyTorch's: in the weights by"):
        assert losses(run, tmp_path) == pytest.approx(plain, rel=1e-5)
    assert (run.kernel, recorder.repeats) == ("torch", 2)


def test_so_is_one_whose_loss_alone_is_wrong(
    tmp_path: Path, recorder: TapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here no number, which is neither above nor below any other."""
    recipe = load_recipe("copy-memory", None, SMALL)
    record = recorder.record

    def wrong(work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Callable[[], None]]:
        loss, repeat = record(work)
        return loss, lambda: (repeat(), loss.fill_(torch.nan), None)[2]

    monkeypatch.setattr(recorder, "record", wrong)
    run = graphed(recipe)
    with pytest.warns(RuntimeWarning, match="its loss is nan, PyTorch's 2"):
        assert losses(run, tmp_path) == pytest.approx(losses(TrainingRun.start(recipe), tmp_path), rel=1e-5)
    assert run.kernel == "torch"


def test_where_pytorch_changes_nothing_neither_may_a_recorded_step(
    tmp_path: Path, recorder: TapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So at the end of a cosine schedule, where the learning rate is next to none."""
    monkeypatch.setattr(step, "_cosine", lambda run: 1e-3 if run.iteration < 3 else 1e-30)
    run = graphed(load_recipe("copy-memory", None, SMALL))
    losses(run, tmp_path)
    assert (run.kernel, recorder.records) == ("graph", 1)


def test_a_recorded_step_that_is_slower_is_not_used(
    tmp_path: Path, recorder: TapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded_step.time, "perf_counter", Clock(pytorch=0.010, recorded=0.020))
    recipe = load_recipe("copy-memory", None, SMALL)
    run = graphed(recipe)
    with pytest.warns(RuntimeWarning, match=r"a recorded step takes 20 ms, PyTorch's 10 ms"):
        assert losses(run, tmp_path) == pytest.approx(losses(TrainingRun.start(recipe), tmp_path), rel=1e-5)
    assert (run.kernel, recorder.repeats) == ("torch", 2)


@pytest.mark.parametrize("launched", [False, True])
def test_without_memory_for_a_graph_pytorch_goes_on(
    launched: bool, tmp_path: Path, recorder: TapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither to record one, nor to launch it; and the reason is what went wrong first."""
    record = recorder.record

    def none_left() -> None:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    def without(work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Callable[[], None]]:
        loss, _ = record(work)
        if not launched:
            none_left()
        return loss, none_left

    monkeypatch.setattr(recorder, "record", without)
    recipe = load_recipe("copy-memory", None, SMALL)
    run = graphed(recipe)
    with pytest.warns(RuntimeWarning, match="a step cannot be recorded: CUDA out of memory"):
        assert losses(run, tmp_path) == pytest.approx(losses(TrainingRun.start(recipe), tmp_path), rel=1e-5)
    assert run.kernel == "torch"


@pytest.mark.parametrize("comparison", [1, 2, 3])
def test_without_memory_to_compare_it_no_step_is_taken_twice(
    comparison: int, tmp_path: Path, recorder: TapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, flat, calls = load_recipe("copy-memory", None, SMALL), recorded_step._flat, 0
    plain = TrainingRun.start(recipe)
    wanted = losses(plain, tmp_path)

    def without(run: TrainingRun) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == comparison:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return flat(run)

    monkeypatch.setattr(recorded_step, "_flat", without)
    run = graphed(recipe)
    with pytest.warns(RuntimeWarning, match=r"a step cannot be (recorded|compared): CUDA out of memory"):
        assert losses(run, tmp_path) == wanted
    assert (calls, run.kernel) == (comparison, "torch")
    torch.testing.assert_close(weights(run), weights(plain), rtol=0, atol=0)


def test_a_recording_that_fails_leaves_the_stream_that_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.cuda.graph` itself does not. Here it is torch's own, over streams that are none."""
    now: list[Any] = []

    class Stream:
        device = 0

    class Graph:
        def capture_begin(self, **_: Any) -> None:
            pass

        def capture_end(self) -> None:
            raise RuntimeError("operation failed due to a previous error during capture")

    for name, stand_in in {
        "Stream": Stream,
        "CUDAGraph": Graph,
        "current_stream": lambda *_: now[-1],
        "set_stream": now.append,
        "_get_device_index": lambda *_: 0,
        "synchronize": lambda: None,
        "empty_cache": lambda: None,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(torch._C, "_host_emptyCache", lambda: None, raising=False)
    now.append(default := Stream())
    recorder, during = recorded_step.CudaRecorder(), []
    with pytest.raises(RuntimeError, match="previous error"):
        recorder.record(lambda: (during.append(now[-1]), torch.zeros(()))[1])
    assert (now[-1], during) == (default, [recorder._stream])


@pytest.mark.parametrize("change", ["training.dropout=0.1", "training.carried_state=true"])
def test_it_is_for_a_gpu_and_for_steps_that_are_all_alike(change: str) -> None:
    asked = load_recipe("ptb-char", None, ["training.kernel=graph"])
    model = make_network(asked.spec)
    with pytest.raises(InputError, match=r"training\.kernel=graph: it is for a GPU"):
        choose_kernel(asked, model, "cpu")
    assert choose_kernel(asked, model, "cuda") == "graph"
    assert choose_kernel(load_recipe("ptb-char", None, []), model, "cuda") == "graph"
    assert choose_kernel(load_recipe("ptb-char", None, [change]), model, "cuda") == "torch"
    with pytest.raises(InputError, match="carried state and dropout are others in each"):
        choose_kernel(load_recipe("ptb-char", None, [change, "training.kernel=graph"]), model, "cuda")


def test_it_is_for_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    model = make_network(load_recipe("ptb-char", None, []).spec)
    assert choose_kernel(load_recipe("ptb-char", None, []), model, "cuda") == "torch"
    with pytest.raises(InputError, match="for one process, and torchrun started more"):
        choose_kernel(load_recipe("ptb-char", None, ["training.kernel=graph"]), model, "cuda")
