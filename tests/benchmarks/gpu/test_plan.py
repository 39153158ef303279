"""The parts of a GPU's check: which are chosen, and in which order."""

from __future__ import annotations

import pytest

from benchmarks.gpu.check import main
from benchmarks.gpu.plan import SURVEY, all_parts, chosen_parts
from drnn_core.errors import InputError


def test_parts_are_chosen_by_the_beginning_of_their_path_with_what_they_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parts = all_parts("cuda", quick=True)
    chosen = [part.name for part in chosen_parts(parts, ["graph/gru", "parity/ptb-char/onnxruntime-cuda"])]
    assert chosen == [
        *(SURVEY, "export/ptb-char", "parity/ptb-char/onnxruntime-cuda"),
        *("engines/gru/tensorrt", "engines/gru/tensorrt-rtx"),
        *("graph/gru/torch", "graph/gru/training", "graph/gru/tensorrt", "graph/gru/tensorrt-rtx"),
    ]
    assert chosen_parts(parts, [part.name for part in parts]) == parts
    with pytest.raises(InputError, match="there is no part 'par'"):
        chosen_parts(parts, ["par"])
    assert main(["--parts", "nothing"]) == 2
    assert main(["--list", "--parts", "stream/rnn/tensorrt"]) == 0
    assert capsys.readouterr().out.split() == [SURVEY, "engines/rnn/tensorrt", "stream/rnn/tensorrt"]


def test_what_is_worth_most_comes_first() -> None:
    names = [part.name for part in sorted(all_parts("cuda", quick=True), key=lambda part: part.alone)]
    kinds = [
        *("smoke/torch-cuda", "smoke/onnxruntime-cuda", "parity/ptb-char/torch-cuda"),
        "parity/ptb-char/onnxruntime-cuda",
        *("parity/ptb-char/cuda-kernel", "kernel-parity/lstm"),
        *("tf32/ptb-char/onnxruntime-cuda/unset", "parity/ptb-char/tensorrt"),
        *(
            "graph/copy-memory/torch",
            "graph/lstm/training",
            "kernel-times/lstm",
            "latency/lstm/onnxruntime-cuda",
            "stream/lstm/onnxruntime-cuda",
        ),
        *("latency/lstm/torch-pruned", "latency/lstm/torch-compile"),
    ]
    assert sorted(kinds, key=names.index) == kinds
    assert {"parity", "tf32"} <= {name.partition("/")[0] for name in names}
    for task in ("copy-memory", "pixel-mnist", "ptb-char", "speaker-id"):
        assert all(f"parity/{task}/{runtime}" in names for runtime in ("torch-cuda", "onnxruntime-cuda"))


def test_every_part_comes_after_what_it_reads_and_names_are_unique() -> None:
    for quick in (True, False):
        names = [part.name for part in all_parts("cuda", quick=quick)]
        assert len(set(names)) == len(names)
        for part in all_parts("cuda", quick=quick):
            assert all(names.index(name) < names.index(part.name) for name in part.after)
    after = {part.name: part.after for part in all_parts("cuda", quick=True)}
    assert after["kernel-times/gru"] == ("kernel-parity/gru",)
    assert after["latency/gru/cuda-kernel"] == ("export/gru", "kernel-parity/gru")
    needed = {part.name: part.runtimes for part in all_parts("cuda", quick=True)}
    assert needed["latency/gru/tensorrt"] == ("torch-cuda", "tensorrt")  # beside which it is timed
    assert needed["parity/ptb-char/tensorrt"] == ("tensorrt",)
    assert needed["kernel-parity/gru"] == needed["kernel-times/gru"] == ("cuda-kernel",)
    assert needed["graph/gru/torch"] == needed["stream/gru/torch-cuda"] == ("torch-cuda",)
    limits = {quick: sum(part.seconds for part in all_parts("cuda", quick=quick)) for quick in (True, False)}
    assert limits[True] < limits[False]
