"""The model repository against Triton's own schema, and what a server that does what it says would compute."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from google.protobuf import text_format
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2

from drnn_core.errors import InputError
from drnn_deploy import ExportOptions, export
from drnn_deploy.exporter.triton import model_config, servable_graph, write_repository
from drnn_models.checkpoint import save_checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.bundle import Bundle, EngineInfo
from drnn_runtimes.bundle.graph_kind import next_state_name, state_name
from drnn_runtimes.reference.loop import run_reference
from tests.drnn_deploy.conftest import Command
from tests.networks import Case, make_case
from tests.runtimes.trt.engines import SIDECAR

CHUNK = 4
NETWORKS = {
    "gru": ModelSpec("gru", (4, 5), (1, 6), Continuous(2), Head("sequence", 3)),
    "lstm, fusion": ModelSpec("lstm", (4, 5), (3, 4), Continuous(2), Head("sequence", 3)),
    "rnn, tokens": ModelSpec("rnn", (4,), (2,), Tokens(5), Head("sequence", 3)),
}


def repository(case: Case, folder: Path) -> tuple[Any, Path]:
    """Export, write, and parse the configuration with Triton's schema."""
    options = ExportOptions(
        forms=("chunk",), chunk=CHUNK, batch=None, ring=False, engines=(), runtimes=("onnxruntime-cpu",)
    )
    bundle = export(case.checkpoint(), folder / "bundle", options).bundle
    (place,) = write_repository(bundle, folder / "models", "waves").models
    return parsed(place), place


def parsed(place: Path) -> Any:
    """A model's configuration, by Triton's own schema."""
    return text_format.Parse((place / "config.pbtxt").read_text(encoding="utf-8"), model_config_pb2.ModelConfig())


def whole_sequences(folder: Path, **options: Any) -> Bundle:
    """A bundle with a graph of whole sequences of any batch, or of those of a profile."""
    chosen: dict[str, Any] = {"length": 12, "batch": None, "engines": (), "runtimes": ("onnxruntime-cpu",), **options}
    return export(make_case(NETWORKS["gru"], 1, 12).checkpoint(), folder / "bundle", ExportOptions(**chosen)).bundle


@pytest.mark.parametrize("name", NETWORKS)
def test_configuration_names_types_and_shapes_of_the_graph(name: str, tmp_path: Path) -> None:
    spec = NETWORKS[name]
    config, place = repository(make_case(spec, 1, 12), tmp_path)
    assert (config.name, config.backend, config.max_batch_size) == ("waves", "onnxruntime", 64)
    assert place.name == config.name
    assert sorted(path.relative_to(place).as_posix() for path in place.rglob("*")) == [
        "1",
        "1/model.onnx",
        "config.pbtxt",
    ]
    session = onnxruntime.InferenceSession(place / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    types = {"tensor(float)": "TYPE_FP32", "tensor(int64)": "TYPE_INT64"}
    given = {i.name: (types[i.type], i.shape[1:]) for i in session.get_inputs()}
    states = config.sequence_batching.state
    said = {i.name: (model_config_pb2.DataType.Name(i.data_type), list(i.dims)) for i in config.input}
    said |= {s.input_name: (model_config_pb2.DataType.Name(s.data_type), list(s.dims)) for s in states}
    assert said == given
    assert [o.name for o in config.output] + [s.output_name for s in states] == [o.name for o in session.get_outputs()]
    assert {s.input_name.removeprefix("state_") for s in states} == set(spec.state_shapes(1))
    for state in states:
        (initial,) = state.initial_state
        assert (list(initial.dims), initial.data_type, initial.zero_data) == (list(state.dims), state.data_type, True)
    assert config.sequence_batching.oldest.max_candidate_sequences == config.max_batch_size


def serve(config: Any, model: Path, sequences: list[NDArray[np.generic]]) -> list[NDArray[np.float32]]:
    """What the server does: batches of the sequences that have a next chunk, each with its own state in its row."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    states = config.sequence_batching.state
    kept = [{s.input_name: np.zeros(list(s.dims), np.float32) for s in states} for _ in sequences]
    answers: list[list[NDArray[np.float32]]] = [[] for _ in sequences]
    names = [output.name for output in session.get_outputs()]
    for start in range(0, max(len(sequence) for sequence in sequences), CHUNK):
        rows = [row for row, sequence in enumerate(sequences) if start + CHUNK <= len(sequence)]
        feed = {"input": np.stack([sequences[row][start : start + CHUNK] for row in rows])}
        feed |= {name: np.stack([kept[row][name] for row in rows]) for name in kept[0]}
        found = dict(zip(names, session.run(names, feed), strict=True))
        for place, row in enumerate(rows):
            answers[row].append(found["output"][place])
            for state in states:
                kept[row][state.input_name] = found[state.output_name][place]
    return [np.concatenate(parts) for parts in answers]


@pytest.mark.parametrize("name", NETWORKS)
def test_served_sequences_of_different_lengths_get_what_each_alone_would(name: str, tmp_path: Path) -> None:
    case = make_case(NETWORKS[name], 3, 20)
    config, place = repository(case, tmp_path)
    sequences = [case.inputs[row, :length] for row, length in enumerate((20, 8, 12))]
    for sequence, answer in zip(sequences, serve(config, place / "1" / "model.onnx", sequences), strict=True):
        reference = run_reference(case.spec, case.weights, sequence[None])
        assert answer.shape == reference.outputs[0].shape
        assert (
            np.abs(answer - reference.outputs[0]).max() <= Case(case.spec, case.weights, sequence[None]).limit().max()
        )


@pytest.mark.parametrize("layers", [2, 12])
def test_names_of_states_come_in_one_order_before_and_after_a_run(layers: int) -> None:
    """Triton pairs them so: the first input by name with the first output by name (issue 8586 of its server)."""
    spec = ModelSpec(
        "lstm", (2,) * layers, tuple(2 + index % 3 for index in range(layers)), Continuous(1), Head("last", 1)
    )
    names = list(spec.state_shapes(1))
    pairs = [(state_name(name), next_state_name(name)) for name in names]
    assert len(pairs) == 2 * layers + (spec.window > 1)
    by_input, by_output = sorted(pairs), sorted(pairs, key=lambda pair: pair[1])
    assert by_input == by_output


def test_configuration_keeps_the_order_of_the_graph(tmp_path: Path) -> None:
    config, place = repository(make_case(NETWORKS["lstm, fusion"], 1, 12), tmp_path)
    session = onnxruntime.InferenceSession(place / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    states = config.sequence_batching.state
    assert [state.input_name for state in states] == [i.name for i in session.get_inputs()][1:]
    assert [state.output_name for state in states] == [o.name for o in session.get_outputs()][1:]


def test_whole_sequences_are_batched_without_state(tmp_path: Path) -> None:
    (place,) = write_repository(whole_sequences(tmp_path), tmp_path / "models", "waves").models
    config = parsed(place)
    assert config.WhichOneof("scheduling_choice") == "dynamic_batching"
    assert config.max_batch_size == 64
    session = onnxruntime.InferenceSession(place / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    ((given,), (made,)) = session.get_inputs(), session.get_outputs()
    assert (config.input[0].name, list(config.input[0].dims)) == (given.name, given.shape[1:]) == ("input", [12, 2])
    assert (config.output[0].name, list(config.output[0].dims)) == (made.name, made.shape[1:])


def test_a_graph_with_state_goes_first(tmp_path: Path) -> None:
    bundle = whole_sequences(tmp_path, forms=("sequence", "chunk"), chunk=CHUNK, ring=False)
    assert servable_graph(bundle).states


def test_engine_of_tensorrt_stands_beside_the_graph(tmp_path: Path) -> None:
    """No machine here builds one, so a file stands for it: what is copied, and what the configuration says of it."""
    bundle = whole_sequences(tmp_path, profile=(1, 4, 16))
    (graph,) = bundle.graphs
    (bundle.folder / "engines").mkdir()
    engines = []
    for runtime, largest in (("tensorrt-rtx", 16), ("tensorrt", 8)):
        engine = EngineInfo(f"engines/{runtime}", f"engines/{runtime}.json", graph.file, runtime)
        (bundle.folder / engine.file).write_bytes(runtime.encode())
        dataclasses.replace(SIDECAR, batch=(1, 4, largest)).write(bundle.folder / engine.sidecar)
        engines.append(engine)
    places = write_repository(dataclasses.replace(bundle, engines=tuple(engines)), tmp_path / "models", "waves").models
    assert [place.name for place in places] == ["waves", "waves-tensorrt"]
    assert (places[1] / "1" / "model.plan").read_bytes() == b"tensorrt"
    graphs, plans = map(parsed, places)
    assert (graphs.backend, graphs.max_batch_size) == ("onnxruntime", 16)
    assert (plans.backend, plans.max_batch_size, plans.name) == ("tensorrt", 8, "waves-tensorrt")
    assert (plans.input, plans.output) == (graphs.input, graphs.output)


def test_a_model_that_has_the_name_of_another_ones_engine_stays(tmp_path: Path) -> None:
    """An export of `waves` may write `waves-tensorrt`, and removes it where it has no engine any more."""
    bundle, models = whole_sequences(tmp_path), tmp_path / "models"
    (other,) = write_repository(bundle, models, "waves-tensorrt").models
    with pytest.raises(InputError, match="waves-tensorrt is another model"):
        write_repository(bundle, models, "waves")
    assert (other / "1" / "model.onnx").is_file()
    assert not (models / "waves").exists()


def test_the_delay_of_a_skewed_graph_is_a_parameter(tmp_path: Path) -> None:
    options = ExportOptions(
        forms=("step",),
        emissions=("skewed", "fused"),
        batch=None,
        ring=False,
        engines=(),
        runtimes=("onnxruntime-cpu",),
    )
    bundle = export(make_case(NETWORKS["gru"], 1, 12).checkpoint(), tmp_path / "bundle", options).bundle
    layers = bundle.spec.layers
    for graph, delay in zip(bundle.graphs, (str(layers - 1), ""), strict=True):
        config = text_format.Parse(model_config(graph, "waves"), model_config_pb2.ModelConfig())
        assert config.parameters["delay"].string_value == delay


def test_command_writes_the_repository_beside_the_bundle(tmp_path: Path, command: Command) -> None:
    case = make_case(NETWORKS["gru"], 1, 12)
    save_checkpoint(tmp_path / "siren.pt", case.checkpoint())
    words = (
        "--output",
        tmp_path / "bundle",
        "--engine",
        "none",
        "--runtime",
        "onnxruntime-cpu",
        "--triton",
        tmp_path / "m",
    )
    ran = command(tmp_path / "siren.pt", "--form", "step", "--batch", "dynamic", *words)
    assert ran.code == 0
    assert f"tritonserver --model-repository {tmp_path / 'm'}" in ran.out
    assert (tmp_path / "m" / "siren" / "config.pbtxt").read_text(encoding="utf-8").splitlines()[1] == 'name: "siren"'
    assert (tmp_path / "m" / "siren" / "1" / "model.onnx").read_bytes() == (
        tmp_path / "bundle" / "model.onnx"
    ).read_bytes()


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (("--form", "step"), "--batch dynamic"),
        (("--batch", "8"), "--batch dynamic"),
        (("--latency",), "--batch dynamic"),
        (("--form", "chunk", "--batch", "dynamic", "--ring"), "--no-ring"),
        (("--form", "chunk", "--ring"), "--batch dynamic --no-ring"),
    ],
)
def test_what_could_not_be_served_is_refused_before_the_export(
    words: tuple[str, ...], fix: str, tmp_path: Path, command: Command
) -> None:
    save_checkpoint(tmp_path / "model.pt", make_case(NETWORKS["gru"], 1, 12).checkpoint())
    ran = command(tmp_path / "model.pt", "--output", tmp_path / "bundle", "--triton", tmp_path / "m", *words)
    assert (ran.code, ran.err.splitlines()[1:]) == (2, [f"Type: {fix}"])
    assert not (tmp_path / "bundle").exists()
    assert not (tmp_path / "m").exists()


def test_a_profile_without_a_lone_request_is_refused(tmp_path: Path, command: Command) -> None:
    save_checkpoint(tmp_path / "model.pt", make_case(NETWORKS["gru"], 1, 12).checkpoint())
    words = ("--output", tmp_path / "bundle", "--engine", "none", "--length", 12, "--triton", tmp_path / "m")
    ran = command(tmp_path / "model.pt", *words, "--batch", "4:8:16")
    assert (ran.code, ran.err.splitlines()[1:]) == (2, ["Type: --batch 1:8:16"])
    assert "the smallest batch would be 4" in ran.err
    assert not (tmp_path / "bundle").exists()
    with pytest.raises(InputError, match="no graph with a dynamic batch from 1 up"):
        write_repository(whole_sequences(tmp_path, profile=(4, 8, 16)), tmp_path / "m", "model")


def test_bundle_without_such_a_graph_and_odd_names_are_refused(tmp_path: Path) -> None:
    case = make_case(NETWORKS["gru"], 1, 12)
    whole = export(
        case.checkpoint(), tmp_path / "whole", ExportOptions(length=12, engines=(), runtimes=("torch",))
    ).bundle
    with pytest.raises(InputError, match="no graph with a dynamic batch from 1 up, and whole delay") as refusal:
        write_repository(whole, tmp_path / "m", "model")
    assert refusal.value.fix == "Type: drnn-export model.pt --form sequence --batch dynamic --triton DIR"
    repository(case, tmp_path)
    bundle = Bundle.open(tmp_path / "bundle")
    for name in ("", "..", "a/b", '"', ".hidden", "a b"):
        with pytest.raises(InputError, match="cannot be a model's name"):
            write_repository(bundle, tmp_path / "m", name)
