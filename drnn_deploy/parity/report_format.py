"""The format of parity reports: of `drnn-parity --json`, and of the `parity.json` in a bundle. Writers ask it, too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drnn_core.plain_data import schema_error, shipped_json

_SCHEMA = "drnn_deploy.parity", "parity.schema.json"


def parity_schema() -> dict[str, Any]:
    """The JSON schema of what `drnn-parity --json` writes."""
    schema: dict[str, Any] = shipped_json(*_SCHEMA)
    return schema


def as_check(bundle: Path, report: Mapping[str, Any]) -> dict[str, Any]:
    """The report that an export leaves in a bundle, as a check of that bundle alone writes it.

    Args:
        bundle: The bundle's folder.
        report: What `ParityReport.to_json` gives.
    """
    passed = report.get("passed")
    entry = {"path": str(bundle), **report}
    return {"passed": passed, "exit_code": int(passed is not True), "environment": {}, "reports": [entry]}


def format_error(report: object) -> str:
    """What of a report its format does not allow, "" for nothing.

    Args:
        report: What JSON can hold.
    """
    wrong = schema_error(report, *_SCHEMA)
    return f"{wrong.json_path}: {wrong.message:.200}" if wrong else ""


def require_format(report: Mapping[str, Any]) -> None:
    """Check a report before it is written, as `read_baseline` will.

    Args:
        report: What `drnn-parity --json` is about to write; tuples are lists.

    Raises:
        AssertionError: Nothing could read it.
    """
    if wrong := format_error(json.loads(json.dumps(report))):
        raise AssertionError(f"the report is not what its schema says, {wrong}: a defect in drnn-deploy")
