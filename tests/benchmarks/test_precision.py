"""docs/precision.md is what the measured results say, and those hold what the page promises."""

from __future__ import annotations

import json
from pathlib import Path

from drnn_deploy.parity.tolerance import NOISE_MULTIPLE

REPOSITORY = Path(__file__).parents[2]
RESULTS = REPOSITORY / "benchmarks" / "results"


def test_page_is_what_the_results_say() -> None:
    from benchmarks.precision import page

    result = json.loads((RESULTS / "precision.json").read_text(encoding="utf-8"))
    assert (REPOSITORY / "docs" / "precision.md").read_text(encoding="utf-8") == page(result)


def test_every_precision_of_every_task_is_within_its_noise() -> None:
    rows = json.loads((RESULTS / "precision.json").read_text(encoding="utf-8"))["rows"]
    assert len({(row["task"], row["precision"]) for row in rows}) == len(rows) == 16
    assert all(row["in_noise"] <= NOISE_MULTIPLE for row in rows)
    assert {(row["task"], row["precision"]) for row in rows if not row["passed"]} <= {("copy-memory", "bf16")}


def test_products_alone_are_no_worse_than_with_an_lstms_cell_state_in_float16() -> None:
    rows = json.loads((RESULTS / "narrower.json").read_text(encoding="utf-8"))["rows"]
    errors = {row["task"]: row["errors"] for row in rows if (row["cell"], row["type"]) == ("lstm", "fp16")}
    with_state = {task: error["and cell state"] / error["products"] for task, error in errors.items()}
    assert set(with_state) == {"pixel-mnist", "speaker-id"}
    assert min(with_state.values()) > 0.9
    assert with_state["speaker-id"] > 1.4, "the page says that it is half as large again"
