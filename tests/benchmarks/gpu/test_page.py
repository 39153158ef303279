"""docs/gpu.md: the committed page is what the results say, and made-up results fill every table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import check
from benchmarks.gpu.check import load_results, main
from benchmarks.gpu.page import PAGE, page
from benchmarks.measure import RESULTS


def times(median: float) -> dict[str, float]:
    return {
        "median": median,
        "p95": 1.1 * median,
        "p99": 1.2 * median,
        "noise_low": 0.99 * median,
        "noise_high": 1.01 * median,
        "runs": 300,
    }


def parity_row(graph: str, precision: str, noise: float | None, *, passed: bool = True) -> dict[str, Any]:
    error = None if noise is None else noise * 1e-6
    return {"graph": graph, "precision": precision, "error": error, "in_noise": noise, "passed": passed}


def tf32_row(allowed: bool, override: str, noise: float) -> dict[str, Any]:
    return {"allowed": allowed, "override": override, "in_noise": noise, "passed": noise < 8}


def made_up(**parts: dict[str, Any]) -> dict[str, Any]:
    """A result that no GPU ever gave."""
    return {
        "device": {
            "name": "Made-up GPU",
            "compute_capability": "1.0",
            "driver": "123.45",
            "cuda": "CUDA 0.1",
            "sm_clock": "300 MHz",
            "largest_sm_clock": "1980 MHz",
            "memory_clock": "2619 MHz",
            "power": "70.1 W",
            "power_limit": "700.0 W",
            "temperature": "30",
            "kind": "cuda",
        },
        "machine": {"processor": "Made-up CPU", "cores": 4, "python": "3.12.0", "versions": {"torch": "9.9"}},
        "packages": {"tensorrt": "99.1"},
        "date": "2001-02-03",
        "quick": True,
        "parts": [{"part": name.replace("__", "/").replace("_", "-"), **part} for name, part in parts.items()],
    }


RESULT = made_up(
    runtimes={"status": "ok", "libraries": {"cuDNN of torch": "9.19.0"}},
    tf32__some_net__torch_cuda__0={"status": "ok", "rows": [tf32_row(False, "0", 1.5), tf32_row(True, "0", 1.25)]},
    tf32__some_net__torch_cuda__unset={"status": "ok", "rows": [tf32_row(False, "unset", 1.5)]},
    parity__some_net__torch_cuda={
        "status": "ok",
        "rows": [parity_row("sequence", "fp32", 1.5), parity_row("chunk32", "fp32", 2.5)],
    },
    parity__some_net__tensorrt={
        "status": "failed",
        "reason": "1 of 2 graphs; step/unrolled:\nerror | big",
        "rows": [parity_row("sequence/fused", "fp16", 0.5), parity_row("step/unrolled", "fp16", None, passed=False)],
    },
    engines__some_net__tensorrt={
        "status": "ok",
        "engines": [
            {
                "graph": "sequence/fused",
                "flavour": "tensorrt",
                "status": "ok",
                "build_seconds": 12.34,
                "engine_bytes": 2_500_000,
                "kernels": 17,
            },
            {"graph": "step/unrolled", "flavour": "tensorrt", "status": "refused", "reason": "no kernel"},
        ],
    },
    latency__gru__torch_pruned={
        "status": "ok",
        "rows": [
            {
                "batch": batch,
                "precision": "fp32",
                "steps": 784,
                "milliseconds": {"torch-cudnn": times(8), "torch-pruned": times(4)},
            }
            for batch in (1, 32)
        ],
    },
    latency__gru__tensorrt={
        "status": "ok",
        "rows": [
            {
                "batch": 32,
                "precision": "fp16",
                "steps": 784,
                "milliseconds": {"torch-cudnn": times(8), "tensorrt": times(0.5)},
            }
        ],
    },
    stream__gru__torch_cuda={
        "status": "ok",
        "rows": [{"form": "step", "chunk": 1, "milliseconds": {"torch-cuda": times(2)}}],
    },
    stream__gru__tensorrt={
        "status": "ok",
        "rows": [
            {"form": form, "chunk": steps, "milliseconds": {"torch-cuda": times(2), "tensorrt": times(0.25)}}
            for form, steps in (("step", 1), ("chunk", 32))
        ],
    },
    graph__gru__tensorrt={
        "status": "ok",
        "rows": [{"batch": 1, "milliseconds": {"kernels": times(3), "graph": times(1)}}],
    },
    kernel_parity__gru={
        "status": "failed",
        "reason": "1 of the rows are wrong",
        "rows": [
            {"form": form, "pruned": pruned, "batch": batch, **parity_row("", "fp32", noise, passed=noise < 8)}
            for form, pruned, batch, noise in (
                ("sequence", True, 1, 2.5),
                ("sequence", True, 1024, 9),
                ("step", False, 8, 1),
            )
        ],
    },
    kernel_times__gru={
        "status": "ok",
        "rows": [
            {"what": "clock", "hertz": 1e9, "batch": 0},
            {
                **{"what": "cuda-kernel", "pruned": True, "batch": 1024, "cycles_a_step": 345.6},
                **{way: {"median": 300.0, "least": 290.0} for way in ("launched", "graph")},
            },
            {"what": "torch-cudnn", "batch": 1, "launched": {"median": 2000.0, "least": 1900.0}},
        ],
    },
    graph__copy_memory__torch={
        "status": "ok",
        "rows": [{"batch": 1, "milliseconds": {"kernels": times(3), "graph": times(1)}}],
    },
    latency__lstm__tensorrt={"status": "unfinished", "reason": "the check ended before it did"},
    graph__gru__torch={"status": "missing", "reason": "PyTorch finds no CUDA device"},
    graph__lstm__torch={"status": "missing", "reason": "PyTorch finds no CUDA device"},
)


def test_page_in_the_repository_is_what_the_command_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "PAGE", tmp_path / "gpu.md")
    assert main(["--render"]) == 0
    written = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert written == PAGE.read_text(encoding="utf-8") == page(load_results(RESULTS))


def test_without_a_result_the_page_says_so_and_what_follows() -> None:
    text = page([])
    assert "No result of a GPU is recorded" in text
    assert "That TensorRT builds engines, and that they compute" in text
    assert "Any latency on a GPU" in text
    assert text.count("\n- ") == 18
    assert "|" not in text


def test_what_a_result_verifies_is_no_longer_listed_and_the_rest_is() -> None:
    text = page([RESULT])
    assert "No result of a GPU" not in text
    gone = (
        "That PyTorch can replay",
        "PyTorch on CUDA",
        "That a stream",
        "That an engine can be replayed",
        "Any latency",
        "step of the CUDA kernel",
    )
    left = (
        "That a training step recorded",
        "That TensorRT builds",
        "That engines of TensorRT-RTX",
        "CUDA provider",
        "CUDA kernel computes",
        "CUDA kernel is right",
        "bfloat16",
    )
    listed = text.partition("## Not verified")[2].partition("## Made-up GPU")[0]
    assert [claim in listed for claim in gone] == [False] * 6
    assert [claim in listed for claim in left] == [True] * 7


def test_bfloat16_counts_where_a_row_of_it_passed_on_a_gpu() -> None:
    found = made_up(parity__n__onnxruntime_cuda={"status": "ok", "rows": [parity_row("step/unrolled", "bf16", 1.0)]})
    assert "bfloat16" not in page([found]).partition("## Made-up GPU")[0]


@pytest.mark.parametrize(
    "line",
    [
        "Compute capability 1.0, driver 123.45 (CUDA 0.1);",
        "torch 9.9, tensorrt 99.1, cuDNN of torch 9.19.0;",
        "At the start: clock 300 MHz of at most 1980 MHz, memory 2619 MHz, 70.1 W of 700.0 W, 30 degrees Celsius.",
        "| network | runtime | off, variable 0 | off, variable unset | on, variable 0 | on, variable unset |",
        "| some-net | torch-cuda | 1.50 | 1.50 | 1.25 |  |",
        "| copy-memory | torch | 1 | 3 (3.3, 3.6; 2.97 to 3.03) | 1 (1.1, 1.2; 0.99 to 1.01), 3 x |",
        "always takes the standard one. That can make it look ten times slower, and is no fault of the graph.",
        "- unfinished: `latency/lstm/tensorrt`: the check ended before it did",
        "2001-02-03, short measurements. TF32 was off.",
        "| some-net | torch-cuda | fp32 | 2 | 2.5e-06 | 2.50 | passed |",
        "| some-net | tensorrt | fp16 | 2 | - | - | **failed**: step/unrolled |",
        "| some-net | tensorrt | sequence/fused | 12.3 s | 2.5 MB | 17 |",
        "| some-net | tensorrt | step/unrolled | refused: no kernel | | |",
        "| GRU | sequence, pruned | fp32 | 1, 1,024 | 9.0e-06 | 9.00 | **failed**: batch 1024 |",
        "| GRU | step | fp32 | 8 | 1.0e-06 | 1.00 | passed |",
        "| GRU | cuda-kernel, pruned | 1,024 | 300 (290) | 300 (290) | 346 |",
        "| GRU | torch-cudnn | 1 | 2000 (1900) | - | - |",
        "| GRU | batch 1 | batch 32 |",
        "| torch-cudnn | 8 (8.8, 9.6; 7.92 to 8.08) | 8 (8.8, 9.6; 7.92 to 8.08) |",
        "| torch-pruned, fp32 | 4 (4.4, 4.8; 3.96 to 4.04), 2 x | 4 (4.4, 4.8; 3.96 to 4.04), 2 x |",
        "| tensorrt, fp16 | - | 0.5 (0.55, 0.6; 0.495 to 0.505), 16 x |",
        "| GRU | torch-cuda | 2 (2.2, 2.4; 1.98 to 2.02) | - |",
        "| GRU | tensorrt | 0.25 (0.275, 0.3; 0.247 to 0.253), 8 x | 0.25 (0.275, 0.3; 0.247 to 0.253), 8 x |",
        "| GRU | tensorrt | 1 | 3 (3.3, 3.6; 2.97 to 3.03) | 1 (1.1, 1.2; 0.99 to 1.01), 3 x |",
        "- failed: `parity/some-net/tensorrt`: 1 of 2 graphs; step/unrolled: error / big",
        "- missing: `graph/gru/torch`, `graph/lstm/torch`: PyTorch finds no CUDA device",
    ],
)
def test_tables_hold_what_was_measured(line: str) -> None:
    assert line in page([RESULT]).splitlines()


def test_results_of_a_cpu_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "gpu-a.json").write_text(json.dumps(RESULT), encoding="utf-8")
    tested = {**RESULT, "device": {**RESULT["device"], "kind": "cpu"}}
    (tmp_path / "gpu-b.json").write_text(json.dumps(tested), encoding="utf-8")
    assert load_results(tmp_path) == [RESULT]
