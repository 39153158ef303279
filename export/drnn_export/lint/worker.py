"""The child process of `drnn_export.lint.process`: reads ONNX files and applies the lint's rules, within its limits.

request  path, folder, targets, capabilities, shown
reply    targets (target -> findings, and how many errors and warnings there are)   or   error, fix
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drnn_core.errors import DeployError
from drnn_core.worker_process import answer
from drnn_export.lint.linter import findings_of
from drnn_export.lint.process import MEMORY
from drnn_export.lint.tables import Finding

_MOST = 20_000  # findings that are told of one file, errors first
_LONGEST = 1_000  # characters of one text


def main() -> None:
    """Answer one request after the other."""
    answer(_reply, memory=MEMORY)


def _reply(request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        of_targets = findings_of(
            Path(request["path"]),
            Path(request["folder"]),
            request["targets"],
            request["capabilities"],
            request["shown"],
        )
    except DeployError as error:
        return {"error": error.message, "fix": error.fix}
    except MemoryError:
        return {"error": f"{request['shown']} cannot be checked: it takes more memory than a check may", "fix": ""}
    except Exception as error:  # onnx and protobuf have many, and of a graph from anywhere any may come
        what = " ".join(f"{type(error).__name__}: {error}".split())
        return {"error": f"{request['shown']} cannot be checked: {what:.500}", "fix": ""}
    return {"targets": {target: _of_target(findings) for target, findings in of_targets.items()}}


def _of_target(findings: Sequence[Finding]) -> dict[str, Any]:
    severities = [finding.severity for finding in findings]
    counts = {"errors": severities.count("error"), "warnings": severities.count("warning")}
    return {"findings": list(map(_shown, findings[:_MOST])), **counts}


def _shown(finding: Finding) -> dict[str, str]:
    """A finding whose texts, most of which are the file's, are of a readable length."""
    return {name: text[:_LONGEST] for name, text in dataclasses.asdict(finding).items()}


if __name__ == "__main__":
    main()
