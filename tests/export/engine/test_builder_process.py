"""The builder's own process: what it imports, how it ends, and that it never outlives its caller."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from drnn_core.errors import EngineError
from tests.export.engine.small_builds import SLOW, build, files, products


def test_the_builder_imports_nothing_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    build(products(tmp_path), Path("model.engine"))
    assert files(tmp_path) == ["json.py", "model.engine", "model.engine.json", "model.onnx"]


def test_the_builder_has_its_callers_import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a source tree need not be installed."""
    (tmp_path / "drnn_core.py").write_text("raise SystemExit('found on the path of the caller')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(EngineError, match="exit code 1\nfound on the path of the caller"):
        build(products(tmp_path), tmp_path / "model.engine")


def test_what_a_library_prints_is_not_taken_for_the_reply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chatty = "import sys; print('hello'); del sys.path[0], sys.modules['tensorrt_rtx']; import tensorrt_rtx"
    (tmp_path / "tensorrt_rtx.py").write_text(chatty, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    build(products(tmp_path), tmp_path / "model.engine")


def test_a_build_past_its_time_limit_is_stopped(tmp_path: Path) -> None:
    graph = products(tmp_path, steps=SLOW)
    start = time.monotonic()
    with pytest.raises(EngineError, match=r"after 0\.7 s and was stopped"):
        build(graph, tmp_path / "e", time_limit=0.7)
    assert time.monotonic() - start < 10
    assert files(tmp_path) == ["model.onnx"]


def builders_of(caller: int) -> set[int]:
    """The builders that a process has started."""
    builders = set()
    with contextlib.suppress(OSError):  # threads and children come and go meanwhile
        for thread in Path(f"/proc/{caller}/task").iterdir():
            for child in map(int, (thread / "children").read_text(encoding="utf-8").split()):
                if b"drnn_export.engine.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                    builders.add(child)
    return builders


def next_builder_of(caller: int, besides: set[int] | frozenset[int] = frozenset()) -> int:
    """The process that builds for another one, once it is at work; `besides`: those that were there before."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if new := builders_of(caller) - besides:
            time.sleep(0.5)
            return new.pop()
        time.sleep(0.02)
    pytest.fail("no builder was started")


def running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="finds the builder's process through /proc"
)


@needs_proc
def test_a_crash_of_the_builder_is_an_error_and_not_the_end(tmp_path: Path) -> None:
    graph, kept = products(tmp_path, steps=SLOW), builders_of(os.getpid())
    with concurrent.futures.ThreadPoolExecutor() as pool:
        result = pool.submit(build, graph, tmp_path / "e")
        os.kill(next_builder_of(os.getpid(), kept), signal.SIGSEGV)
        with pytest.raises(EngineError, match=r"the builder crashed on model\.onnx: killed by SIGSEGV"):
            result.result(timeout=30)
    assert files(tmp_path) == ["model.onnx"]


@needs_proc
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_builder_outlives_its_caller(how: signal.Signals, tmp_path: Path) -> None:
    """SIGINT: Ctrl-C, which reaches the builder's process as well; SIGKILL: the caller cannot clear up."""
    script = (
        "import signal, sys; from pathlib import Path; from drnn_export.engine.build import build_engine\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background are started without it\n"
        "try: build_engine(Path(sys.argv[1]), Path(sys.argv[2]), 'tensorrt-rtx', compute_capabilities=('8.6',))\n"
        "except KeyboardInterrupt: sys.exit('interrupted')"
    )
    graph, engine = products(tmp_path, steps=SLOW), tmp_path / "out" / "e"
    caller = subprocess.Popen(
        [sys.executable, "-c", script, str(graph), str(engine)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    builder = next_builder_of(caller.pid)
    if how == signal.SIGINT:
        os.killpg(caller.pid, how)
    else:
        caller.kill()
    _, said = caller.communicate(timeout=30)
    deadline = time.monotonic() + 5
    while running(builder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(builder)
    if how == signal.SIGINT:
        assert said.strip() == "interrupted"
        assert files(engine.parent) == []
