"""Which runs are measured, and with which graphs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from drnn_core.errors import InputError
from drnn_deploy.bench.registry import CONTENDERS
from drnn_deploy.bench.run import BenchOptions, usable
from drnn_deploy.bench.settings import BLOCK, Setting, bundle_settings, checkpoint_settings, write_row
from drnn_models.checkpoint import Checkpoint
from drnn_runtimes.bundle import Bundle
from tests.drnn_deploy.conftest import LENGTH


def test_a_checkpoint_is_measured_whole_and_as_a_stream(network: Checkpoint) -> None:
    assert checkpoint_settings(network, (), None, (), ()) == [
        Setting("sequence", LENGTH, 1),
        Setting("step", 1, 1),
        Setting("chunk", BLOCK, 1),
    ]
    assert checkpoint_settings(network, ("chunk",), None, (5,), (2, 3)) == [
        Setting("chunk", 5, 2),
        Setting("chunk", 5, 3),
    ]
    assert checkpoint_settings(network, ("sequence",), 30, (), ()) == [Setting("sequence", 30, 1)]


def test_the_length_of_sequences_must_be_known_where_they_are_asked_for(network: Checkpoint) -> None:
    unknown = dataclasses.replace(network, task={})
    assert [setting.form for setting in checkpoint_settings(unknown, (), None, (), ())] == ["step", "chunk"]
    with pytest.raises(InputError, match="how long its sequences are"):
        checkpoint_settings(unknown, ("sequence",), None, (), ())


def test_a_bundle_is_measured_with_its_own_graphs(pristine: Path) -> None:
    bundle = Bundle.open(pristine)
    ((setting, part),) = bundle_settings(bundle, ())
    assert (setting, part.graphs) == (Setting("sequence", LENGTH, 1), bundle.graphs)
    free = dataclasses.replace(bundle.graphs[0], batch=None)
    both = bundle_settings(dataclasses.replace(bundle, graphs=(*bundle.graphs, free)), (1, 4))
    assert [(setting.batch, len(part.graphs)) for setting, part in both] == [(1, 2), (4, 1)]


@pytest.mark.parametrize(
    ("setting", "emissions"),
    [
        (Setting("sequence", 9, 2), ["fused", "unrolled"]),  # of two layers, mixed is one of these
        (Setting("step", 1, 1), ["fused", "skewed", "unrolled"]),
        (Setting("sequence", 250, 1), ["fused"]),  # unrolled, it would have thousands of nodes
    ],
)
def test_small_graphs_are_written_in_every_way(
    setting: Setting, emissions: list[str], network: Checkpoint, tmp_path: Path
) -> None:
    bundle = write_row(network, setting, (), tmp_path / "every")
    assert [graph.emission for graph in bundle.graphs] == emissions
    quick = write_row(network, setting, (), tmp_path / "quick", quick=True)
    assert [graph.emission for graph in quick.graphs] == emissions[:1]
    assert {graph.batch for graph in bundle.graphs} == {setting.batch}


def test_what_is_asked_for_and_cannot_be_emitted_is_an_error(network: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="style pipelined is for form step"):
        write_row(network, Setting("sequence", 9, 1), ("skewed",), tmp_path / "bundle")


def test_quick_leaves_out_who_compiles_for_long_unless_named() -> None:
    taking, absent = usable(BenchOptions(quick=True))
    assert not {"torch-compile", "torch-onnx"} & {entry.name for entry in taking}
    assert {"torch-compile", "torch-onnx"} <= {entry.contender for entry in absent}
    assert {entry.name for entry in taking} | {entry.contender for entry in absent} == set(CONTENDERS)
    taking, absent = usable(BenchOptions(quick=True, contenders=("torch-compile",)))
    assert ([entry.name for entry in taking], absent) == (["torch-compile"], ())
