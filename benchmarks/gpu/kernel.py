"""The CUDA kernel on a GPU: parity over forms, pruning, batches and types, and its time by the GPU's own clock.

A batch repeats eight sequences. What the kernel makes of a sequence depends on no other, so repeats must be equal to
the bit, and float64 is computed of eight alone.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.gpu.bundles import CHUNK, checkpoint_of
from benchmarks.gpu.plan import BASELINE, Row, Rows, Setting
from benchmarks.networks import STEPS
from drnn_core import gpu
from drnn_core.errors import RuntimeUnavailableError
from drnn_deploy.parity.tolerance import NOISE_MULTIPLE
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.spec import ModelSpec
from drnn_models.weights import Weights
from drnn_runtimes.cuda_kernel import nvrtc
from drnn_runtimes.cuda_kernel.around import kernel_answers
from drnn_runtimes.cuda_kernel.device import Device
from drnn_runtimes.cuda_kernel.from_torch import accelerate
from drnn_runtimes.cuda_kernel.images import compiled_image, plan_for
from drnn_runtimes.cuda_kernel.plan import WeightType
from drnn_runtimes.cuda_kernel.session import DeviceState, Network, RecordedRun, zero_past
from drnn_runtimes.reference.noise import answer
from drnn_runtimes.torch import float32_products

Array = NDArray[Any]
DISTINCT = 8
BATCHES = (1, 8, 132, 1024)  # one block, a few, a GPU's multiprocessors, and more than those
LAUNCHES = 2 * STEPS  # of a network whose every cell evaluation is a kernel: the steps that wait for each other
_TYPES: tuple[WeightType, ...] = ("fp32", "fp16")
_TIMED: tuple[tuple[WeightType, bool], ...] = (("fp32", True), ("fp32", False), ("fp16", True))  # types, pruned
_SHORT_STEPS = 64  # of form step: each is a launch
_EMPTY = 'extern "C" __global__ void empty() {}\n'
_CLOCKS = """extern "C" __global__ void clocks(long long* out, long long nanoseconds) {
  long long time, until, start;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(time));
  start = clock64();
  do asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(until)); while (until - time < nanoseconds);
  out[0] = clock64() - start, out[1] = until - time;
}
"""  # the cycles and nanoseconds that it waits
_MEASURED = 2_000_000  # nanoseconds over which a clock is measured
_HEAD_START = 200_000  # nanoseconds that the GPU waits while the host gives it work


def parity(setting: Setting, cell: str) -> Rows:
    """Every form, pruned and not, in fp32 and with fp16 weights, over the batches of `BATCHES`."""
    checkpoint = checkpoint_of(cell)
    return check_network(checkpoint.dilated, checkpoint.weights, STEPS, BATCHES)


def check_network(spec: ModelSpec, weights: Weights, steps: int, batches: tuple[int, ...]) -> Rows:
    """Compare the kernel of a network with float64, form by form.

    spec, weights: the network, whose head is `last`. steps: of whole sequences. batches: each a multiple of `DISTINCT`
    or not: its sequences are `DISTINCT` ones again and again.
    """
    wrong = 0
    random = np.random.default_rng(0)
    distinct = random.standard_normal((DISTINCT, steps, spec.input.width), dtype=np.float32)
    right = {
        length: answer(spec, weights, distinct[:, :length], _TYPES) for length in (steps, min(steps, _SHORT_STEPS))
    }
    for types in _TYPES:
        for form, length in (("sequence", steps), ("chunk", steps), ("step", min(steps, _SHORT_STEPS))):
            told = right[length]
            expected, limit = told.narrow_outputs.get(types, told.outputs), told.noises[types]
            for pruned in (True, False) if form == "sequence" else (False,):
                for batch in batches:
                    inputs = distinct[np.arange(batch) % DISTINCT, :length]
                    outputs = _outputs(spec, weights, inputs, form, pruned, types)
                    row = verdict(outputs, expected, limit)
                    wrong += not row["passed"]
                    yield {"form": form, "pruned": pruned, "precision": types, "batch": batch, **row}
    return {"status": "failed", "reason": f"{wrong} of the rows are wrong"} if wrong else {"status": "ok"}


def verdict(outputs: Array, expected: Array, noise: Array) -> Row:
    """A row of `parity`. outputs: (B, outputs), expected: (DISTINCT, outputs), noise: what the type itself does."""
    repeated = np.arange(len(outputs)) % DISTINCT
    equal = bool(np.array_equal(outputs, outputs[repeated]))
    error = np.abs(outputs[:DISTINCT] - expected[: len(outputs)])
    in_noise = float((error / np.maximum(noise, np.finfo(np.float64).tiny)).max())
    passed = equal and in_noise <= NOISE_MULTIPLE  # NaN is not
    return {"passed": passed, "error": float(error.max()), "in_noise": in_noise, "repeats_equal": equal}


def _outputs(spec: ModelSpec, weights: Weights, inputs: Array, form: str, pruned: bool, types: WeightType) -> Array:
    """What the head gives after the last step, (B, outputs)."""
    batch, steps = inputs.shape[:2]
    with contextlib.ExitStack() as stack:
        network = _network(stack, spec, weights, kernel_answers(spec, steps) if pruned else None, types)
        past = zero_past(spec, batch)
        if form == "sequence":
            run = RecordedRun(network, batch, steps)
            stack.callback(run.close)
            return run.run(inputs, past)[:, -1]
        state = DeviceState(network, batch, stack)
        piece = CHUNK if form == "chunk" else 1
        runs: dict[int, RecordedRun] = {}
        outputs: Array = np.zeros(0)
        for start in range(0, steps, piece):
            size = min(piece, steps - start)
            if size not in runs:
                runs[size] = RecordedRun(network, batch, size, state=state.address)
                stack.callback(runs[size].close)
            outputs = runs[size].run(inputs[:, start : start + size], state.past)[:, -1]
        return outputs


def _architecture() -> str:
    """Of the GPU here, without its dot."""
    found = gpu.gpu()
    if found is None:
        raise RuntimeUnavailableError(f"there is no GPU: {gpu.gpu_reason()}")
    return gpu.architecture(found.compute_capability)


def _network(
    stack: contextlib.ExitStack, spec: ModelSpec, weights: Weights, answers: int | None, types: WeightType
) -> Network:
    architecture = _architecture()
    plan = plan_for(spec, architecture, answers=answers, weights=types)
    device = Device(stack)
    kernel = device.load(stack, compiled_image(plan, architecture), plan)
    return Network(device, kernel, spec, weights, stack)


def times(setting: Setting, cell: str) -> Rows:
    """Microseconds between two events of the GPU, without copies: the kernel, its recorded graph, and others.

    Beside it: torch with cuDNN on tensors of the GPU, and as many empty launches as there are cell evaluations that
    wait for each other, one by one and as a graph.
    """
    checkpoint = checkpoint_of(cell)
    spec, weights = checkpoint.dilated, checkpoint.weights
    runs = 20 if setting.quick else 200
    with contextlib.ExitStack() as stack:
        clock = Clock(stack)
        yield {"what": "clock", "hertz": clock.hertz(), "batch": 0}
        for batch in BATCHES:
            for types, pruned in _TIMED:
                found = clock.kernel_times(spec, weights, batch, STEPS, pruned=pruned, types=types, runs=runs)
                yield {"what": f"cuda-kernel, {types}", "pruned": pruned, "batch": batch, "steps": STEPS, **found}
        yield {"what": f"{LAUNCHES:,} empty launches", "batch": 1, **clock.empty_times(LAUNCHES, runs=runs)}
    model = DilatedRNN(spec)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    yield from _torch_times(model, runs)
    return {"status": "ok"}


class Clock:
    """Times on the stream of a device of its own. stack: frees it."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._architecture = _architecture()
        self._stack, self._device = stack, Device(stack)
        self._events = [self._device.call("cuEventCreate", 0) for _ in range(2)]
        for event in self._events:
            stack.callback(self._device.free, "cuEventDestroy", event)
        self._told = self._device.memory(stack, 16)
        self._clocks = self._device.function(stack, self._compiled(_CLOCKS), b"clocks")
        self._wait = self._launcher(self._clocks, self._told, _HEAD_START)

    def microseconds(self, call: Callable[[], object], runs: int) -> dict[str, float]:
        """The median and the least of so many runs of what `call` gives the stream, after three that do not count."""
        device, found = self._device, []
        for number in range(runs + 3):
            self._wait()
            device.call("cuEventRecord", self._events[0], device.stream)
            call()
            device.call("cuEventRecord", self._events[1], device.stream)
            device.call("cuEventSynchronize", self._events[1])
            if number >= 3:
                found.append(1e3 * float(device.call("cuEventElapsedTime", *self._events)))
        return {"median": float(np.median(found)), "least": min(found)}

    def hertz(self) -> float:
        """The clock of a multiprocessor at work, from `clock64` beside the GPU's timer."""
        told = np.zeros(2, np.int64)
        self._launcher(self._clocks, self._told, _MEASURED)()
        self._device.download(self._told, told)
        return 1e9 * float(told[0]) / float(told[1])

    def kernel_times(
        self, spec: ModelSpec, weights: Weights, batch: int, steps: int, *, pruned: bool, types: WeightType, runs: int
    ) -> Row:
        """Microseconds of the kernel on arrays of the GPU, launched and as a graph, and cycles of a step."""
        device = self._device
        answers = kernel_answers(spec, steps)
        plan = plan_for(spec, self._architecture, answers=answers if pruned else None, weights=types)
        with contextlib.ExitStack() as stack:
            kernel = device.load(stack, compiled_image(plan, self._architecture), plan)
            network = Network(device, kernel, spec, weights, stack)
            rows = np.random.default_rng(0).standard_normal((batch, steps, spec.input.width), dtype=np.float32)
            x, y = device.memory(stack, rows.nbytes), device.memory(stack, 4 * batch * answers * spec.hidden[-1])
            device.upload(x, rows)
            addresses = x, network.packed, 0, 0, device.memory(stack, plan.workspace_bytes(batch)), y
            launch = functools.partial(kernel.launch, addresses, batch, steps, answers, device.stream)
            with device.recording(stack) as replay:
                launch()
            launched, graph = self.microseconds(launch, runs), self.microseconds(replay[0], runs)
        hertz = self.hertz()  # as warm as it is now
        return {"launched": launched, "graph": graph, "cycles_a_step": launched["least"] * 1e-6 * hertz / steps}

    def empty_times(self, launches: int, *, runs: int) -> Row:
        """Microseconds of kernels that do nothing, one after the other and as one graph."""
        device = self._device
        with contextlib.ExitStack() as stack:
            empty = self._launcher(device.function(stack, self._compiled(_EMPTY), b"empty"))

            def launch() -> None:
                for _ in range(launches):
                    empty()

            with device.recording(stack) as replay:
                launch()
            return {"launched": self.microseconds(launch, runs), "graph": self.microseconds(replay[0], runs)}

    def _compiled(self, text: str) -> bytes:
        any_plan = plan_for(checkpoint_of("rnn").dilated, self._architecture)
        return nvrtc.compile_kernel(any_plan, self._architecture, text)

    def _launcher(self, function: Any, *arguments: int) -> Callable[[], object]:
        """Launches one thread with these arguments; all that can be is prepared."""
        values = np.array(arguments or (0,), np.uint64)
        held = values, np.array([values.ctypes.data + 8 * index for index in range(values.size)], np.uint64)
        ones, call, stream = (1,) * 6, self._device.call, self._device.stream

        def launch() -> None:
            call("cuLaunchKernel", function, *ones, 0, stream, held[1].ctypes.data if arguments else 0, 0)

        return launch


def _torch_times(model: DilatedRNN, runs: int) -> Iterator[Row]:
    """PyTorch with cuDNN on folded phases, and the kernel from PyTorch, on tensors of the GPU."""
    if not torch.cuda.is_available():
        yield {"what": BASELINE, "batch": 0, "missing": "PyTorch finds no CUDA device"}
        return
    model = model.to("cuda").eval()
    fast = accelerate(model)
    with float32_products(), torch.no_grad():
        for batch in BATCHES:
            x = torch.randn(batch, STEPS, model.spec.input.width, device="cuda")
            calls: dict[str, Callable[[], torch.Tensor]] = {
                BASELINE: functools.partial(model, x, prune=False),
                "torch-pruned": functools.partial(model, x),
                "accelerate": functools.partial(fast, x),
            }
            expected = calls["torch-pruned"]()
            torch.testing.assert_close(calls["accelerate"](), expected, atol=1e-4, rtol=1e-4)
            for what, call in calls.items():
                yield {"what": what, "batch": batch, "steps": STEPS, "launched": _torch_microseconds(call, runs)}


def _event() -> Any:
    make: Any = torch.cuda.Event  # without types
    return make(enable_timing=True)


def _torch_microseconds(call: Callable[[], object], runs: int) -> dict[str, float]:
    found = []
    for number in range(runs + 3):
        begin, end = (_event() for _ in range(2))
        begin.record()
        call()
        end.record()
        end.synchronize()
        if number >= 3:
            found.append(1e3 * begin.elapsed_time(end))
    return {"median": float(np.median(found)), "least": min(found)}
