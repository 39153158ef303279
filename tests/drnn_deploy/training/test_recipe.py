from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from drnn_core.errors import InputError
from drnn_deploy.tasks import TASKS
from drnn_deploy.training.recipe import load_recipe
from drnn_deploy.training.training_run import TrainingRun
from drnn_models.spec import Tokens

RECIPE = """
task = "copy-memory"
seed = 7
[data]
delay = 5
[model]
cell = "gru"
hidden = [4, 4]
dilations = [1, 2]
[training]
iterations = 30
batch = 8
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@pytest.mark.parametrize("task", TASKS)
def test_shipped_recipes_are_the_papers_networks(task: str) -> None:
    """But for Penn Treebank, whose narrower network is better with shorter dilations."""
    recipe = load_recipe(task)
    assert recipe.task == task
    first, layers = {"speaker-id": (8, 7)}.get(task, (1, 9))
    doubled = tuple(first * 2**layer for layer in range(layers))
    assert recipe.spec.dilations == ((1, 1, 1, 2, 4) if task == "ptb-char" else doubled)
    assert recipe.spec.head == recipe.make_task().head
    assert json.loads(json.dumps(recipe.to_json())) == recipe.to_json()


def test_recipe_is_read_from_a_file(config: Path) -> None:
    recipe = load_recipe("copy-memory", config)
    assert (recipe.seed, recipe.data, recipe.spec.cell, recipe.spec.hidden) == (7, {"delay": 5}, "gru", (4, 4))
    assert (recipe.training.iterations, recipe.training.batch, recipe.training.optimizer) == (30, 8, "adam")
    assert recipe.make_task().length == 25


def test_task_of_a_file_may_be_left_out_but_not_differ(config: Path) -> None:
    config.write_text(RECIPE.replace('task = "copy-memory"', ""), encoding="utf-8")
    assert load_recipe("copy-memory", config).task == "copy-memory"
    config.write_text(RECIPE.replace("copy-memory", "pixel-mnist"), encoding="utf-8")
    with pytest.raises(InputError, match="is for task 'pixel-mnist', not 'copy-memory'"):
        load_recipe("copy-memory", config)


def test_overrides_take_toml_values_and_bare_words(config: Path) -> None:
    overrides = [
        "seed=3",
        "data.delay = 9",
        "model.hidden=[2, 3, 4]",
        "model.dilations=[1,2,4]",
        "model.cell=lstm",
        "training.optimizer='rmsprop'",
        "training.learning_rate=3e-4",
        "training.schedule=cosine",
        "training.clip_norm=2",
    ]
    recipe = load_recipe("copy-memory", config, overrides)
    assert (recipe.seed, recipe.data, recipe.spec.hidden, recipe.spec.cell) == (3, {"delay": 9}, (2, 3, 4), "lstm")
    assert (recipe.training.optimizer, recipe.training.learning_rate) == ("rmsprop", 3e-4)
    assert (recipe.training.schedule, recipe.training.clip_norm) == ("cosine", 2)


def test_last_override_counts(config: Path) -> None:
    assert load_recipe("copy-memory", config, ["seed=1", "seed=2"]).seed == 2


def test_input_may_get_an_embedding(config: Path) -> None:
    recipe = load_recipe("copy-memory", config, ["model.input={kind='tokens', vocabulary=10, embedding=3}"])
    assert recipe.spec.input == Tokens(10, 3)


def test_recipes_are_equal_where_all_their_entries_are(config: Path) -> None:
    recipe = load_recipe("copy-memory", config)
    assert recipe.to_json() == load_recipe("copy-memory", config).to_json()
    for change in ("seed=8", "data.delay=6", "model.cell=rnn", "training.batch=9", "training.stop_below=0.1"):
        assert load_recipe("copy-memory", config, [change]).to_json() != recipe.to_json()


def test_recipe_knows_itself_in_what_was_written_before_an_entry_was_new(config: Path) -> None:
    recipe = load_recipe("copy-memory", config)
    data = recipe.to_json()
    assert recipe.is_in(data)
    del data["training"]["precision"]
    assert recipe.is_in(data)
    for change in ("seed=8", "data.delay=6", "model.cell=rnn", "model.network=skip", "training.precision=bf16"):
        assert not load_recipe("copy-memory", config, [change]).is_in(data)


@pytest.mark.parametrize("data", [None, [], {}, 5, {"spec": {}, "training": {}}, {"spec": 1}, {1: 2}])
def test_recipe_is_not_in_anything_else(data: object, config: Path) -> None:
    assert not load_recipe("copy-memory", config).is_in(data)


@pytest.mark.parametrize("override, says", [
    # not of the form
    ("seed", "is not of the form key=value"),
    ("seed.x=1", "'seed' is not a table"),
    ("training.batch.size=1", "'batch' is not a table"),
    # unknown keys
    ("sede=1", "no entry 'sede'"),
    ("=1", "no entry ''"),
    ("trainnig.batch=1", "no entry 'trainnig'"),
    ("training.bacth=1", "unexpected keyword argument 'bacth'"),
    ("model.hiden=[4, 4]", "unknown field 'hiden'"),
    ("data.dealy=4", "no option 'dealy'"),
    # wrong types and values
    ("seed=-1", "seed must be"),
    ("seed=1.0", "seed must be"),
    ("seed=true", "seed must be"),
    (f"seed={1 << 32}", "seed must be"),
    ("data=5", "'data' must be a table"),
    ("model=gru", "'model' must be a table"),
    ("training=[]", "'training' must be a table"),
    ("data.delay=soon", "data.delay must be"),
    ("data.delay=5.0", "data.delay must be"),
    ("data.delay=true", "data.delay must be"),
    ("data.delay=2026-01-01", "data.delay must be"),
    ("model.cell=transformer", "model.cell"),
    ("model.hidden=4", "model.hidden"),
    ("model.hidden=[4, '4']", "model.hidden[1]"),
    ("model.hidden=[4, 4, 4]", "model.dilations: 2 dilations for 3 layers"),
    ("model.dilations=[1, 0]", "model.dilations[1]"),
    ("model.fusion=perhaps", "model.fusion"),
    ("training.iterations=0", "training.iterations"),
    ("training.iterations=1e3", "training.iterations"),
    ("training.iterations=true", "training.iterations"),
    ("training.batch='8'", "training.batch"),
    ("training.batch=8_", "training.batch"),
    ("training.evaluate_every=0", "training.evaluate_every"),
    ("training.learning_rate=0", "training.learning_rate"),
    ("training.learning_rate=nan", "training.learning_rate"),
    ("training.learning_rate=inf", "training.learning_rate"),
    ("training.learning_rate=1e38", "training.learning_rate"),
    ("training.learning_rate=true", "training.learning_rate"),
    ("training.learning_rate=fast", "training.learning_rate"),
    ("training.clip_norm=-1", "training.clip_norm"),
    ("training.stop_below=low", "training.stop_below"),
    ("training.input_scale=0", "training.input_scale must be a positive number"),
    ("training.input_scale=nan", "training.input_scale"),
    ("training.dropout=1", "training.dropout must be a number from 0 to below 1, got 1"),
    ("training.dropout=-0.1", "training.dropout"),
    ("training.dropout=nan", "training.dropout"),
    ("training.dropout=true", "training.dropout"),
    ("training.carried_state=1", "training.carried_state must be true or false"),
    ("training.carried_state=true", "is for tasks of one long text, and sequences of copy-memory do not follow"),
    ("training.stop_below=nan", "training.stop_below"),
    ("training.stop_below=inf", "training.stop_below"),
    ("training.stop_below=-1", "training.stop_below"),
    ("training.stop_below=false", "training.stop_below"),
    ("training.optimizer=sgd", "training.optimizer"),
    ("training.schedule=[1]", "training.schedule"),
    ("training.precision=fp16", "training.precision must be fp32 or bf16, got 'fp16'"),
    # edges that the task sets
    ("model.head={kind='last', outputs=8}", "does not fit task copy-memory"),
    ("model.head={kind='last_k', outputs=3, steps=10}", "does not fit task copy-memory"),
    ("model.head.outputs=8", "missing field 'kind'"),
    ("model.input={kind='continuous', features=10}", "does not fit task copy-memory"),
    ("model.input={kind='tokens', vocabulary=9}", "does not fit task copy-memory"),
    # beyond what Python parses
    ("seed=" + "9" * 5000, "seed must be"),
    ("seed=" + "[" * 5000 + "]" * 5000, "--set seed: its lists and tables are nested deeper than 64 levels"),
    ("seed=" + "[" * 60, "seed must be"),
])  # fmt: skip
def test_override_that_makes_no_recipe_names_its_key(config: Path, override: str, says: str) -> None:
    with pytest.raises(InputError) as refusal:
        load_recipe("copy-memory", config, [override])
    assert says in refusal.value.message


@pytest.mark.parametrize("content, says", [
    ("seed = ", "is not valid TOML"),
    ("seed = 1\nseed = 2", "is not valid TOML"),
    ("[training", "is not valid TOML"),
    ("seed = " + "9" * 5000, "is not valid TOML"),
    ("seed = " + "[" * 5000, "is not valid TOML"),
    ("", "missing"),
    (RECIPE.replace("iterations = 30", ""), "missing 1 required positional argument: 'iterations'"),
    (RECIPE.replace("[data]", "[[data]]"), "'data' must be a table"),
    (RECIPE.replace('cell = "gru"', ""), "missing field 'cell'"),
    (RECIPE + '"odd key" = 1', "odd key"),
])  # fmt: skip
def test_file_that_is_no_recipe(config: Path, content: str, says: str) -> None:
    config.write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as refusal:
        load_recipe("copy-memory", config)
    assert says in refusal.value.message


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\0")
    for path in (tmp_path / "missing.toml", tmp_path, tmp_path / "binary.toml"):
        with pytest.raises(InputError, match="cannot read the recipe") as refusal:
            load_recipe("copy-memory", path)
        assert str(path) in refusal.value.message


@pytest.mark.parametrize("task", ["mnist", "", "..", "../zoo/other", "/etc"])
def test_task_without_a_recipe(task: str) -> None:
    with pytest.raises(InputError, match="there is no task") as refusal:
        load_recipe(task)
    assert refusal.value.fix.endswith("Choose from: copy-memory, pixel-mnist, ptb-char, speaker-id.")
    assert ("Did you mean 'pixel-mnist'?" in refusal.value.fix) == (task == "mnist")


def test_input_scale_is_of_the_input_weights_of_recurrent_layers_alone() -> None:
    small = ("data.delay=3", "model.hidden=[4,4]", "model.dilations=[1,2]")
    usual, scaled = (
        TrainingRun.start(
            load_recipe("copy-memory", None, (*small, f"training.input_scale={scale}"))
        ).model.state_dict()
        for scale in (1, 0.25)
    )
    changed = {name for name, weights in usual.items() if not torch.equal(weights, scaled[name])}
    assert changed == {"layers.0.weight_ih_l0", "layers.1.weight_ih_l0"}
    assert all(torch.equal(usual[name] * 0.25, scaled[name]) for name in changed)
    with pytest.raises(InputError, match="input_scale is for recurrent networks"):
        load_recipe(
            "copy-memory", None, ("model={network='cnn', channels=[4], dilations=[1]}", "training.input_scale=2")
        )
