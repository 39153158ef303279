from __future__ import annotations

import os
import subprocess
import sys

import pytest

from drnn_core.variables import setting_variables


def test_variables_have_other_values_inside_also_for_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "before")
    monkeypatch.setenv("UNSET", "before")
    monkeypatch.delenv("NEW", raising=False)
    program = "import os; print([os.environ.get(name) for name in ('KEPT', 'UNSET', 'NEW')])"
    with pytest.raises(ValueError), setting_variables({"KEPT": "inside", "UNSET": None, "NEW": "inside"}):
        told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        raise ValueError
    assert told.strip() == "['inside', None, 'inside']"
    assert [os.environ.get(name) for name in ("KEPT", "UNSET", "NEW")] == ["before", "before", None]
