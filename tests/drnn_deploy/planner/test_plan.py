from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_core.errors import InputError
from drnn_core.types import PRECISIONS
from drnn_deploy import ExportOptions
from drnn_deploy.exporter.options import graph_requests
from drnn_deploy.planner.candidates import BLOCK_SECONDS, BLOCKS, Candidate, Goal, PlanTarget, with_block
from drnn_deploy.planner.cost_model import build_seconds
from drnn_deploy.planner.plan import BUILD_SECONDS, Plan, make_plan
from drnn_export.emitter.emit import NODE_BUDGET, estimate
from drnn_export.emitter.request import GraphRequest
from drnn_models.cells import Cell
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from tests.networks import random_weights, specs

PIXEL = ModelSpec("gru", (20,) * 9, tuple(2**i for i in range(9)), Continuous(1), Head("last", 10))
EVERY_STEP = dataclasses.replace(PIXEL, head=Head("sequence", 10))
Command = Any  # see conftest


def seeded(spec: ModelSpec) -> Checkpoint:
    return Checkpoint(spec, random_weights(spec, 0))


def candidate(plan: Plan, name: str) -> Candidate:
    return next(c for c in plan.candidates if c.name == name)


@given(specs(), st.sampled_from(get_args(PlanTarget)), st.sampled_from(get_args(Goal)), st.sampled_from([1, 4, None]))
def test_recommendation_can_be_had_and_is_the_best_of_what_fits(
    spec: ModelSpec, target: PlanTarget, goal: Goal, batch: int | None
) -> None:
    plan = make_plan(spec, target, goal, length=20, batch=batch)
    assert plan.chosen in plan.candidates
    assert (plan.chosen.request.form == "sequence") == (goal == "sequence")
    assert plan.chosen.request.batch == batch
    rivals = [c for c in plan.candidates if c.request.form == plan.chosen.request.form]
    if goal == "sequence":
        assert plan.chosen.cost == min(c.cost for c in rivals)
    checkpoint = Checkpoint(spec, random_weights(spec, 0), {"length": 20})
    (request,) = graph_requests(checkpoint, ExportOptions(goal=goal, target=target, batch=batch, ring=False))
    assert dataclasses.replace(request, ring=False) == plan.chosen.request


def test_latency_asks_for_no_wait_and_throughput_for_long_chunks() -> None:
    quick = make_plan(EVERY_STEP, "onnxruntime-cpu", "latency").chosen
    cheap = make_plan(EVERY_STEP, "onnxruntime-cpu", "throughput").chosen
    assert (quick.request.form, quick.wait) == ("step", 0)
    assert cheap.request.steps >= 64
    assert cheap.cost_per_step < quick.cost_per_step / 5


def test_faster_samples_than_one_step_can_follow_need_chunks() -> None:
    costs = {c.name: c.cost for c in make_plan(EVERY_STEP, "onnxruntime-cpu", "latency").candidates}
    best = min(costs["step/fused"], costs["step/unrolled"])
    slow = make_plan(EVERY_STEP, "onnxruntime-cpu", "latency", rate=0.5e6 / best)
    fast = make_plan(EVERY_STEP, "onnxruntime-cpu", "latency", rate=3e6 / costs["step/skewed"])
    assert slow.chosen.request.form == "step"
    assert slow.chosen.request.emission != "skewed"
    assert fast.chosen.request.form == "chunk"
    assert "us after the sample" in fast.reason


def test_skewed_steps_are_chosen_where_only_they_keep_up() -> None:
    spec = dataclasses.replace(EVERY_STEP, head=Head("last", 10))  # of which a chunk answers for one sample only
    costs = {c.name: c.cost for c in make_plan(spec, "onnxruntime-cpu", "latency").candidates}
    assert costs["step/skewed"] < 0.9 * min(costs["step/fused"], costs["step/unrolled"])
    plan = make_plan(spec, "onnxruntime-cpu", "latency", rate=0.95e6 / costs["step/skewed"])
    assert (plan.chosen.name, plan.chosen.wait) == ("step/skewed", 8)


def test_nothing_keeps_up_with_a_hundred_million_samples_a_second() -> None:
    plan = make_plan(EVERY_STEP, "onnxruntime-cpu", "latency", rate=1e8)
    assert plan.reason.startswith("none keeps up with 1e+08 samples a second")
    assert plan.chosen.request.steps > 1


@pytest.mark.parametrize("cell", get_args(Cell))
def test_engines_that_take_minutes_are_not_recommended(cell: Cell) -> None:
    plan = make_plan(dataclasses.replace(PIXEL, cell=cell), "tensorrt", "sequence", length=784)
    assert candidate(plan, "sequence/unrolled").build_seconds > BUILD_SECONDS or cell == "rnn"
    assert plan.chosen.build_seconds <= BUILD_SECONDS
    assert make_plan(PIXEL, "tensorrt", "latency").chosen.name == "step/unrolled"


@pytest.mark.parametrize("cell", get_args(Cell))
def test_whole_sequences_are_blocked_for_tensorrt_and_built_in_seconds(cell: Cell) -> None:
    spec = dataclasses.replace(PIXEL, cell=cell)
    chosen = make_plan(spec, "tensorrt", "sequence", length=784).chosen
    assert chosen.name == "sequence/blocked"
    assert chosen.build_seconds <= BLOCK_SECONDS
    assert chosen.work.trips < chosen.work.depth / 10
    longer = dataclasses.replace(chosen.request, block=2 * (chosen.request.block or 0))
    assert longer.block > max(BLOCKS) or build_seconds(spec, longer) > BLOCK_SECONDS
    (request,) = graph_requests(seeded(spec), ExportOptions(length=784, emissions=("blocked",)))
    assert request == chosen.request
    (request,) = graph_requests(seeded(spec), ExportOptions(length=784, emissions=("blocked",), block=5))
    assert request.block == 5


def test_only_tensorrt_has_use_for_blocks_and_only_of_long_sequences() -> None:
    others = [
        make_plan(PIXEL, target, "sequence", length=784) for target in get_args(PlanTarget) if target != "tensorrt"
    ]
    others += [make_plan(PIXEL, "tensorrt", "sequence", length=4), make_plan(PIXEL, "tensorrt", "throughput")]
    others += [make_plan(PIXEL, "tensorrt", "sequence", length=784, batch=None)]
    assert not [c for plan in others for c in plan.candidates if c.request.emission == "blocked"]


def test_the_shortest_blocks_are_taken_where_nothing_is_built_in_seconds() -> None:
    wide = ModelSpec("lstm", (20,) * 40, (1,) * 40, Continuous(1), Head("last", 10))
    assert with_block(wide, GraphRequest(784, 1, "blocked")).block == min(BLOCKS)


def test_blocks_without_the_emission_are_refused() -> None:
    with pytest.raises(InputError, match="--block would be ignored: it needs --style blocked"):
        ExportOptions(length=784, block=8).refuse_ignored()
    with pytest.raises(InputError, match="style blocked is for form sequence"):
        graph_requests(seeded(PIXEL), ExportOptions(forms=("step",), emissions=("blocked",)))


def test_small_node_budget_leaves_operators() -> None:
    chosen = make_plan(PIXEL, "onnxruntime-cpu", "throughput", node_budget=1).chosen
    assert chosen.request.emission == "fused"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("vulkan", "latency", {}), "there is no target 'vulkan'"),
        (("tensorrt", "fun", {}), "there is no goal 'fun'"),
        (("tensorrt", "sequence", {}), "does not say how long"),
        (("tensorrt", "latency", {"rate": 0.0}), "the rate must be a positive number"),
        (("tensorrt", "latency", {"rate": float("nan")}), "the rate must be a positive number"),
    ],
)
def test_what_makes_no_plan_is_refused(arguments: Any, message: str) -> None:
    target, goal, more = arguments
    with pytest.raises(InputError, match=message):
        make_plan(PIXEL, target, goal, **more)


def test_goal_and_form_contradict_each_other() -> None:
    checkpoint = Checkpoint(PIXEL, random_weights(PIXEL, 0))
    with pytest.raises(InputError, match="--latency chooses the form"):
        graph_requests(checkpoint, ExportOptions(goal="latency", forms=("chunk",)))


def test_emission_that_is_given_is_kept() -> None:
    checkpoint = Checkpoint(EVERY_STEP, random_weights(EVERY_STEP, 0))
    options = ExportOptions(goal="throughput", emissions=("unrolled",), chunk=None)
    assert {r.emission for r in graph_requests(checkpoint, options)} == {"unrolled"}
    (request,) = graph_requests(checkpoint, ExportOptions(length=784, emissions=("fused",)))
    assert request.emission == "fused"


def test_emissions_have_the_words_of_options_and_of_files() -> None:
    checkpoint = Checkpoint(EVERY_STEP, random_weights(EVERY_STEP, 0))
    for words in (("operator", "pipelined"), ("fused", "skewed")):
        found = graph_requests(checkpoint, ExportOptions(forms=("step",), emissions=words))
        assert [request.emission for request in found] == ["fused", "skewed"]


def test_a_precision_without_operators_has_blocks_where_unrolled_steps_are_too_many() -> None:
    """Also for runtimes that blocks are of no use to otherwise."""
    for target in get_args(PlanTarget):
        found = [
            graph_requests(Checkpoint(PIXEL, random_weights(PIXEL, 0), {"length": length}), options)[0]
            for length in (8, 3000)
            for options in (ExportOptions(precisions=("bf16",), target=target),)
        ]
        assert [request.emission for request in found] == ["unrolled", "blocked"], target
        assert estimate(PIXEL, found[1]).nodes <= NODE_BUDGET


@pytest.mark.parametrize("goal", ["latency", "throughput"])
def test_a_goal_chooses_what_the_precisions_have(goal: Goal) -> None:
    checkpoint = Checkpoint(EVERY_STEP, random_weights(EVERY_STEP, 0))
    for precision, info in PRECISIONS.items():
        found = graph_requests(
            checkpoint, ExportOptions(goal=goal, precisions=("fp32", precision)[precision == "fp32" :])
        )
        assert {request.precision for request in found} == {"fp32", precision}
        assert not {request.emission for request in found if request.precision == precision} & set(info.refused)


def test_command_shows_all_graphs_and_names_one(command: Command, model: Path) -> None:
    ran = command(
        "drnn-deploy", "plan", model, "--target", "tensorrt", "--throughput", "--json", model.parent / "plan.json"
    )
    assert ran.code == 0
    written = json.loads((model.parent / "plan.json").read_text(encoding="utf-8"))
    assert len(written["candidates"]) > 20
    assert all(entry["graph"] in ran.out for entry in written["candidates"])
    assert f"for tensorrt, throughput: {written['recommended']['graph']}, {written['reason']}" in ran.out
    assert "no GPU has been measured" in ran.out


def test_command_without_a_length_says_what_to_type(command: Command, tmp_path: Path) -> None:
    from drnn_models.checkpoint import save_checkpoint

    save_checkpoint(tmp_path / "m.pt", Checkpoint(PIXEL, random_weights(PIXEL, 0)))
    ran = command("drnn-deploy", "plan", tmp_path / "m.pt")
    assert ran.code == 2
    assert "Add --length STEPS, in Python length=STEPS." in ran.err


def test_export_follows_the_plan(command: Command, model: Path) -> None:
    planned = command("drnn-deploy", "plan", model, "--throughput", "--json", "-")
    name = json.loads(planned.out)["recommended"]["graph"]
    ran = command(model, "--throughput", "--engine", "none", "--output", model.parent / "bundle")
    assert ran.code == 0
    assert f"graph   model.onnx: {name}" in ran.out
