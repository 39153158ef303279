"""The kernel broken on purpose: each missing barrier, each index that is off by one, is seen by the host build."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.cuda_kernel import KernelOptions
from drnn_runtimes.cuda_kernel.constants import read_source
from drnn_runtimes.cuda_kernel.host_build import cpp_compiler
from tests.networks import make_case
from tests.nightly import some_by_day
from tests.runtimes.cuda_kernel.kernels import check_pieces, check_whole

pytestmark = pytest.mark.skipif(cpp_compiler() is None, reason="there is no C++ compiler")

TWO_WARPS = ModelSpec("gru", (34, 5), (1, 3), Continuous(2), Head("last", 2), reset="before")
FAR = ModelSpec("lstm", (5, 6), (9, 17), Continuous(2), Head("last", 2))
FAR_OPTIONS = KernelOptions(rows=2, shared_memory=3900)
STREAMED = KernelOptions(rows=2, variant="streamed")
PRUNED = ModelSpec("lstm", (5, 6, 3), (1, 2, 4), Continuous(2), Head("last", 2))
UNEVEN = ModelSpec("gru", (5, 6), (4, 8), Continuous(2), Head("last_k", 2, 3), fusion=False)
AFTER = ModelSpec("gru", (5, 6), (1, 3), Continuous(2), Head("last", 2))
MANY_ROWS = ModelSpec("rnn", (5, 100), (2, 8), Continuous(2), Head("last", 2))
BARRIER = re.compile(r"\bsync_(block|layer)\(\);")


def two_warps(source: str) -> None:
    check_pieces(make_case(TWO_WARPS, 2, 30), KernelOptions(), [13, 1, 9], source)


def far(source: str) -> None:
    check_pieces(make_case(FAR, 3, 60), FAR_OPTIONS, [33, 1, 9], source)


def streamed(source: str) -> None:
    check_pieces(make_case(TWO_WARPS, 3, 60), STREAMED, [33, 1, 9], source)


def streamed_lstm(source: str) -> None:
    check_pieces(make_case(FAR, 3, 60), STREAMED, [33, 1, 9], source)


def many_rows(source: str) -> None:
    check_pieces(make_case(MANY_ROWS, 6, 40), KernelOptions(rows=3, variant="streamed"), [40], source)


def pruned(source: str) -> None:
    check_whole(make_case(PRUNED, 2, 61), KernelOptions(1), source)


def uneven(source: str) -> None:
    check_whole(make_case(UNEVEN, 2, 61), KernelOptions(3), source)


def uneven_streamed(source: str) -> None:
    check_whole(make_case(UNEVEN, 2, 61), KernelOptions(3, variant="streamed"), source)


def after(source: str) -> None:
    check_pieces(make_case(AFTER, 3, 40), KernelOptions(rows=2), [17, 1, 9], source)


INTACT = [two_warps, far, streamed, streamed_lstm, many_rows, pruned, uneven, uneven_streamed, after]
BARRIERS = {  # the comment beside a barrier, or what follows it -> what needs it
    "sync_layer();  // all of the past is there": far,
    "sync_layer();  // all have written reset * h": two_warps,
    "sync_layer();  // all see h_t": pruned,
    "sync_block();  // what all write at first is there": after,
    "sync_block();  // a block of steps is done": after,
    "sync_block();  // inputs are there": after,
    "sync_block();  // shared memory is cleared": after,
    "sync_block();  // the past is there": streamed,
    "sync_block();  // reset * h is there": streamed,
    "sync_block();  // h is there": streamed,
    "sync_block();  // the workspace is filled": streamed,
    "sync_block();  // the buffers may be overwritten": streamed,
}
INDICES = {  # old text -> new text, and what shows it
    "return slot == last ? first": ("return slot + SLOT == last ? first", after),
    "read = FAR ? first : first + SLOT": ("read = first", after),
    "last = first + (at.fold - FAR) * SLOT": ("last = first + (at.fold - 1) * SLOT", after),
    "write = FAR ? after(write) : read, read = after(read)": ("write = read, read = after(read)", far),
    "(row0 + i) * at.dilation + j) * H": ("(row0 + i) * at.dilation + j + 1) * H", after),
    "for (int j = 0, slot = read; j < at.fold && mine": ("for (int j = 1, slot = read; j < at.fold && mine", after),
    "for (int j = 0, slot = read; j < at.fold; j++": ("for (int j = 0, slot = write; j < at.fold; j++", after),
    "(k / 4 * GATES + g) * H];\n        w[g][0]": ("(k / 4 * GATES + g) * H + 1];\n        w[g][0]", after),
    "matrix[((CP / 4 + k / 4) * GATES + g) * H]": ("matrix[((CP / 4 + k / 4) * GATES + g) * H + 1]", after),
    "past_bias = biases[GATES * H]": ("past_bias = biases[GATES * H - H]", after),
    "const int block = turn - at.index": ("const int block = turn - at.index - 1", after),
    "const int in = at.in + ((block & 1)": ("const int in = at.in + ((block + 1 & 1)", after),
    "out = at.out + ((block & 1)": ("out = at.out + ((block + 1 & 1)", after),
    "read, out + times[s] * OUT)": ("read, out + (times[s] + 1) * OUT)", after),
    "from[s] = in + times[s] * IN": ("from[s] = in + (times[s] + 1) * IN", after),
    "modulo(run.answers - run.steps, at.dilation)": ("modulo(run.answers - run.steps + 1, at.dilation)", pruned),
    "return t + (at.fold == 1 ? at.dilation : 1)": ("return t + (at.fold == 1 ? at.dilation + 1 : 1)", pruned),
    "phase + 1 == at.fold ?": ("phase == at.fold ?", uneven),
    "at.dilation - at.fold + 1 : 1": ("at.dilation - at.fold : 1", uneven),
    "modulo(t - run.steps + run.answers": ("modulo(t - run.steps + run.answers + 1", uneven),
    "t = times[COUNT], past += COUNT * SLOT": ("t = times[COUNT]", far),
    "FAR ? past + s * SLOT": ("FAR ? past + (s + 1) * SLOT", far),
    "for (int s = 0, slot = read; s < BLOCK": ("for (int s = 0, slot = after(read); s < BLOCK", far),
    "start + BLOCK < run.steps ? start + BLOCK : run.steps;\n        const int in": (
        "start + BLOCK < run.steps ? start + BLOCK - 1 : run.steps;\n        const int in",
        after,
    ),
    "if (times[COUNT - 1] >= stop)": ("if (times[COUNT - 1] > stop)", after),
    "before[OUT + i * HP + unit]": ("before[i * HP + unit]", pruned),
    "const int next = (turn + 1) * BLOCK": ("const int next = turn * BLOCK", after),
    "done = (turn - LAYERS) * BLOCK": ("done = (turn - LAYERS + 1) * BLOCK", after),
    "run.answers + t - first) * TOP + u] = out": ("run.answers + t - first + 1) * TOP + u] = out", after),
    "t < run.steps && row0 + r < run.batch)\n": ("t < run.steps && row0 + r <= run.batch)\n", after),
    "return u / d * fold + ": ("return (u / d + 1) * fold + ", streamed),
    "(i + before) % fold - residue": ("(i + before) % fold - residue + 1", streamed),
    "slot = (i + row / ROWS) % at.fold": ("slot = (i + row / ROWS + 1) % at.fold", streamed),
    "kept[j] = (step % at.fold": ("kept[j] = ((step + 1) % at.fold", streamed),
    "(first + j) % at.fold": ("(first + j + 1) % at.fold", streamed),
    "base += GROUPS * TILE": ("base += GROUPS * TILE + 1", many_rows),
    "rows ? asked : rows - 1": ("rows ? asked + 1 : rows - 1", many_rows),
    "ring + at.fold * ROWS * H + kept": ("ring + at.fold * ROWS * H + H + kept", streamed_lstm),
    "const float* in = shared + at.in;": ("const float* in = shared + at.out;", streamed),
}


@pytest.mark.parametrize("scenario", INTACT, ids=lambda scenario: scenario.__name__)
def test_intact(scenario: Callable[[str], None]) -> None:
    scenario(read_source("drnn.cu"))


def test_each_barrier_has_a_mutant() -> None:
    source = read_source("drnn.cu")
    assert sum(map(source.count, BARRIERS)) == len(BARRIERS) == len(BARRIER.findall(source))


@pytest.mark.parametrize("barrier", some_by_day(list(BARRIERS), 6))
def test_missing_barriers(barrier: str) -> None:
    _fails(barrier, ";  //", BARRIERS[barrier])


@pytest.mark.parametrize("old", some_by_day(list(INDICES), 9))
def test_indices_off_by_one(old: str) -> None:
    _fails(old, *INDICES[old])


def test_pipeline_without_every_second_barrier() -> None:
    """Layers and movers leave out the same one, so that no thread waits in vain."""
    source = read_source("drnn.cu")
    for comment in ("a block of steps is done", "inputs are there"):
        source, count = re.subn(rf"sync_block\(\);  // {comment}", "if (turn < 0 || turn % 2) sync_block();", source)
        assert count == 1
    with pytest.raises(AssertionError, match="times the noise"):
        after(source)


def _fails(old: str, new: str, scenario: Callable[[str], None]) -> None:
    source = read_source("drnn.cu")
    assert source.count(old) == 1, source.count(old)
    with pytest.raises((AssertionError, RuntimeError)):
        scenario(source.replace(old, new))
