"""Types the first page from top to bottom and writes docs/transcript.md: python3 docs/_make/transcript.py, in a clone.

Needs no package. With `--instead "make test=make quick"` a shorter command is typed in place of a long one, and the
page says so; `--note TEXT` says what else there is to know. Commands share one shell, as on a terminal. Long output is
cut in the middle.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "transcript.md"
BEFORE = "apt-get install -y -q --no-install-recommends ca-certificates git make python3-venv"
FIRST, LAST, WIDTH = 4, 18, 150
MARK = "\x1e"
_LEFT_OUT = re.compile(r"\(\d+ s(, \d+%.*)?\)$|^Looking in ")  # progress; where pip looks
_COLOURS = re.compile(r"\x1b\[[\d;]*m")
FENCE = re.compile(r"^```(sh|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INTRO = """# The first page, typed

Written by `python3 docs/_make/transcript.py`; do not edit it. It types every line of the repository's first page, in
order, in one shell. Seconds are of the wall clock. Long output is cut in the middle (`...`).

{system}
"""


def steps(page: str) -> list[tuple[str, str]]:
    """What to type: for each command or snippet what is shown, and the line for the shell."""
    typed = []
    for language, text in FENCE.findall(page):
        named = re.match(r"# (\S+\.py)\n", text)
        if language == "sh":
            lines = (line.partition("  #")[0].strip() for line in text.splitlines())
            typed += [(line, line) for line in lines if line]
        elif named:
            typed.append((f"cat > {named[1]}    # the text above", f"cat > {named[1]} <<'PYTHON'\n{text}PYTHON"))
        else:
            typed.append((f"python    # {text.strip().splitlines()[-1]}", f"python <<'PYTHON'\n{text}PYTHON"))
    return typed


def run(typed: list[tuple[str, str]]) -> list[tuple[str, float, int]]:
    """Output, seconds and exit code of each, from one shell."""
    mark = f'printf \'{MARK}%s %s\\n\' "$?" "$EPOCHREALTIME"'
    script = "\n".join([mark, *(f"{line}\n{mark}" for _, line in typed)])
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".sh") as file:
        file.write(script + "\n")
        file.flush()
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            ["bash", file.name], cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    first, *parts = re.split(f"{MARK}(\\d+) ([\\d.]+)\n", done.stdout.decode(errors="replace"))
    assert not first, first
    codes, times, outputs = parts[0::3], [float(time) for time in parts[1::3]], parts[2::3]
    assert len(codes) == len(typed) + 1, f"the shell ended after {len(codes) - 1} of {len(typed)} lines"
    spans = (later - earlier for earlier, later in itertools.pairwise(times))
    return [(output, span, int(code)) for output, span, code in zip(outputs, spans, codes[1:], strict=False)]


def shortened(output: str) -> str:
    """The lines that a terminal shows at the end, without progress, the middle cut."""
    lines = [line.rstrip().rpartition("\r")[2] for line in output.split("\n")]
    lines = [_plain(line) for line in lines if line and not _LEFT_OUT.search(line)]
    if len(lines) > FIRST + LAST + 1:
        lines = [*lines[:FIRST], "...", *lines[-LAST:]]
    return "".join(f"    {line}\n" for line in lines)


def _plain(line: str) -> str:
    line = _COLOURS.sub("", line)
    line = re.sub(r"https?://[^\s/]+", "https://...", line)
    line = line.replace(str(REPOSITORY), ".").replace(str(Path.home()), "~")
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."


def system() -> str:
    """One paragraph on the machine."""
    version = Path("/etc/debian_version").read_text(encoding="utf-8").strip()
    python = sys.version.split()[0]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True)
    return (
        f"Debian {version}, as debootstrap makes it, on {os.cpu_count()} cores of an x86-64 that had other work; "
        f"Python {python}, no GPU; commit {commit.stdout.strip()}. Before the first line: `{BEFORE}`."
    )


def main(instead: dict[str, str], notes: list[str]) -> int:
    """Type the page and write the transcript; the number of lines that failed."""
    typed = steps((REPOSITORY / "README.md").read_text(encoding="utf-8"))
    replaced = [(shown, instead[shown]) for shown, _ in typed if shown in instead]
    results = run([(shown, instead.get(shown, line)) for shown, line in typed])
    parts = [INTRO.format(system=system())]
    parts += [f"In place of `{long}`, which takes long, `{short}` was typed.\n" for long, short in replaced]
    parts += [f"{note}\n" for note in notes]
    parts.append(f"In all {sum(seconds for _, seconds, _ in results) / 60:.0f} minutes.\n")
    for (shown, _), (output, seconds, code) in zip(typed, results, strict=True):
        failed = f", exit code {code}" if code else ""
        parts.append(f"**{seconds:.1f} s{failed}**\n\n    $ {instead.get(shown, shown)}\n{shortened(output)}")
    PAGE.write_text("\n".join(parts), encoding="utf-8")
    return sum(code != 0 for _, _, code in results)


if __name__ == "__main__":
    given = list(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    long_and_short = dict(value.split("=", 1) for option, value in given if option == "--instead")
    sys.exit(main(long_and_short, [value for option, value in given if option == "--note"]))
