"""Real processes: how long they take to start, what they import, and how they end."""

from __future__ import annotations

import json
import os
import re
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def python(code: str, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=120)


START_EXPORT = "from drnn_deploy.cli import main_export; main_export()"


def cpu_seconds_of(start: str, *words: str, code: int = 0) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert python(start, *words).returncode == code
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_does_not_keep_one_waiting() -> None:
    assert statistics.median(cpu_seconds_of(START_EXPORT, "--help") for _ in range(3)) < 0.5


@pytest.mark.parametrize("start", ["import drnn_deploy", "import drnn_deploy.cli.export, drnn_deploy.cli.train"])
def test_import_does_not_load_the_heavy_packages(start: str) -> None:
    ran = python(
        f"{start}; import sys; print([n for n in ('torch', 'onnx', 'onnxruntime', 'scipy') if n in sys.modules])"
    )
    assert (ran.stdout.strip(), ran.stderr) == ("[]", "")


EXPORT_AND_REFUSE = """
import sys
from drnn_deploy.cli import main_export

bad = sys.argv.pop(1)
try:
    main_export()
except SystemExit as end:
    assert end.code == 0, end.code
sys.argv[1:] = [bad, "--json", "-"]
main_export()
"""


def test_real_process_exports_and_refuses(model: Path) -> None:
    """Both in one, which imports torch once; the code of its end is that of the refusal."""
    out, bad = model.parent / "bundle", model.parent / "bad.pt"
    bad.write_bytes(model.read_bytes()[:1000])
    words = (model, "--output", out, "--engine", "none", "--runtime", "torch", "--json", "-")
    done = python(EXPORT_AND_REFUSE, bad, *words)
    decoder = json.JSONDecoder()
    exported, end = decoder.raw_decode(done.stdout)
    refused, _ = decoder.raw_decode(done.stdout[end:].lstrip())
    assert (done.returncode, exported["passed"], refused["passed"]) == (2, True, False)
    assert re.search(r"^drnn-export: ", done.stderr, re.MULTILINE)  # behind lines of progress on a slow machine
    assert "Traceback" not in done.stderr


WITHOUT_TORCH = (
    "import sys\nfrom drnn_deploy.cli import main_export\n"
    "try: main_export()\nfinally: assert not {'torch', 'onnxruntime'} & set(sys.modules)"
)


@pytest.mark.parametrize(
    "words", [("missing.pt",), (".",), ("missing.pt", "--json", "-"), (__file__, "--runtime", "no-such")]
)
def test_simple_errors_need_no_pytorch(words: tuple[str, ...], record_property: Callable[[str, object], None]) -> None:
    seconds = cpu_seconds_of(WITHOUT_TORCH, *words, code=2)
    shown = " ".join(words).replace(__file__, "a file")
    record_property(f"drnn-export {shown}: s of the processor", f"{seconds:.2f}")
    assert seconds < 1


@pytest.mark.skipif(sys.platform == "win32", reason="a broken pipe is one of POSIX")
@pytest.mark.parametrize("buffered", [True, False])
def test_a_broken_pipe_is_not_parity_that_failed(buffered: bool) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**ENVIRONMENT, **({} if buffered else {"PYTHONUNBUFFERED": "1"})}
    code = "from drnn_deploy.cli import main; main()"
    command = [sys.executable, "-c", code, "suggest", "--length", "784"]
    ran = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment, timeout=120)
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (141, "")
