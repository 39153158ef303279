"""What a request takes is compared with what the machine, its container and the process's own limit leave."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from drnn_core import memory
from drnn_core.errors import InputError
from drnn_core.memory import Need, available_memory, require_memory

NEEDS = [Need("weights", 3e9, "Fewer units."), Need("sequences", 5e9, "A smaller batch.")]


def test_the_largest_part_is_named_with_what_to_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 8 * 10**9)
    require_memory("a step", NEEDS)
    monkeypatch.setattr(memory, "available_memory", lambda: 8 * 10**9 - 1)
    with pytest.raises(InputError) as refusal:
        require_memory("a step", NEEDS)
    assert refusal.value.message == (
        "a step would take about 8 GB of memory, most of it (5 GB) for sequences; this machine has 8 GB free"
    )
    assert refusal.value.fix == "A smaller batch."


def test_this_machine_has_some_memory() -> None:
    assert 10**6 < available_memory() < 10**15


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_the_limit_of_the_process_counts() -> None:
    code = "from drnn_core.memory import available_memory; print(available_memory())"
    command = ["/bin/sh", "-c", 'ulimit -v 1000000; exec "$0" -c "$1"', sys.executable, code]
    path = str(Path(memory.__file__).parents[1])
    ran = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True)
    assert 0 < int(ran.stdout) < 1_000_000 * 1024


@pytest.mark.parametrize("names", [
    ("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
])  # fmt: skip
def test_the_limit_of_the_container_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, str]
) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    without = memory._of_the_container()
    assert without == sys.maxsize
    for name, content in zip(names, ("5000000\n", "2000000\n"), strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    assert available_memory() == 3_000_000
    (tmp_path / names[0]).write_text("max\n", encoding="utf-8")
    assert memory._of_the_container() == sys.maxsize


def test_files_that_the_system_keeps_in_memory_are_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    stat = "anon 100\ninactive_file 1500000\nactive_file 7\n"
    for name, content in {"memory.max": "5000000", "memory.current": "2000000", "memory.stat": stat}.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    assert memory._of_the_container() == 4_500_000


@pytest.mark.parametrize("version", [1, 2])
def test_the_groups_above_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "_OWN_GROUPS", tmp_path / "groups")
    lines = "0::/jobs/one/step\n" if version == 2 else "12:cpu,cpuacct:/\n4:memory:/jobs/one/step\n"
    (tmp_path / "groups").write_text(lines, encoding="utf-8")
    root = tmp_path / "cgroup" / ("" if version == 2 else "memory")
    limit, used = memory._CGROUP_FILES[0 if version == 2 else 1][1:3]
    (root / "jobs" / "one" / "step").mkdir(parents=True)
    for folder, most in (("jobs", 9_000), ("jobs/one", 3_000), ("jobs/one/step", 5_000)):
        (root / folder / limit).write_text(f"{most}\n", encoding="utf-8")
        (root / folder / used).write_text("1000\n", encoding="utf-8")
    assert memory._of_the_container() == 2_000
    (root / "jobs" / "one" / limit).write_text("max\n", encoding="utf-8")
    assert memory._of_the_container() == 4_000
