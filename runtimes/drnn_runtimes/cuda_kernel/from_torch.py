"""A `DilatedRNN` of PyTorch through the kernel, on tensors of the GPU: nothing is copied to the host."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from drnn_core.errors import InputError
from drnn_runtimes.cuda_kernel.device import Driver
from drnn_runtimes.cuda_kernel.images import compiled_image, plan_for
from drnn_runtimes.cuda_kernel.plan import KernelPlan, WeightType
from drnn_runtimes.cuda_kernel.weights import pack_weights

if TYPE_CHECKING:
    from torch import Tensor

    from drnn_models.dilated_rnn import DilatedRNN, State

Launch = Callable[[Sequence[int], int, int, int], None]  # addresses, batch, steps and answers, see `Kernel.launch`
_ALIGNED = 16  # bytes


def accelerate(module: DilatedRNN, *, weights: WeightType = "fp32") -> AcceleratedRNN:
    """Make a fast call of a network in evaluation: the same outputs, without gradients, from one kernel.

    Args:
        module: In evaluation, in float32 and on a GPU. Its weights are copied: those that change later do not count.
        weights: The type of the kernel's matrices; sums and states are float32. With fp16, activations are as exact.

    Returns:
        What is called in place of `module`.

    Raises:
        InputError: It is not such a module, or the kernel cannot compute the network.
        DeployError: NVRTC is missing, or the GPU does not take the kernel.
    """
    import torch

    parameter = module.head.weight
    if parameter.device.type != "cuda":
        raise InputError(
            f"the kernel runs on a GPU, and the module is on {parameter.device}", 'Call module.to("cuda").'
        )
    major, minor = torch.cuda.get_device_capability(parameter.device)
    device = parameter.device
    return AcceleratedRNN(module, f"{major}{minor}", functools.partial(_gpu_launch, device, f"{major}{minor}"), weights)


class AcceleratedRNN:
    """A network whose recurrent layers the kernel computes. See `accelerate`.

    Args:
        module: The network.
        architecture: Of the GPU.
        launch_for: Gives the launch of a plan, on the module's device and its current stream.
        weights: The type of the kernel's matrices.
    """

    def __init__(
        self,
        module: DilatedRNN,
        architecture: str,
        launch_for: Callable[[KernelPlan], Launch],
        weights: WeightType = "fp32",
    ) -> None:
        import torch

        _check_module(module)
        self.spec, self._module = module.spec, module
        self._device = module.head.weight.device
        spec, head = module.spec, module.spec.head
        copied = {name: value.numpy(force=True) for name, value in module.state_dict().items()}

        def prepared(answers: int | None) -> _Prepared:
            plan = plan_for(spec, architecture, answers=answers, weights=weights)
            packed = torch.from_numpy(pack_weights(plan, copied)).to(self._device)
            return _Prepared(plan, packed, launch_for(plan))

        self._whole = prepared(None)
        pruned = head.kind != "sequence" and plan_for(
            spec, architecture, answers=head.steps + spec.window - 1, weights=weights
        )
        self._pruned = prepared(pruned.options.answers) if pruned and not pruned.keeps_state else self._whole

    def __call__(self, inputs: Tensor, *, prune: bool = True) -> Tensor:
        """Run whole sequences from the zero state.

        Args:
            inputs: (B, T, C) float32, or (B, T) int64 tokens, on the module's device.
            prune: Whether to compute only what reaches the output.

        Returns:
            (B, outputs) for head `last`, else (B, k, outputs).
        """
        import torch

        with torch.no_grad():
            top = self._run(self._pruned if prune else self._whole, inputs, None)
            past = top.new_zeros(self.spec.window - 1, len(inputs), self.spec.hidden[-1])
            return self._module._read_out(torch.cat([past, top]), inputs.shape[1])

    def advance(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run a piece of longer sequences.

        Args:
            inputs: (B, T, C) float32, or (B, T) int64 tokens, on the module's device.
            state: What the piece before returned; None is a zero state.

        Returns:
            What `DilatedRNN.advance` returns.
        """
        import torch

        with torch.no_grad():
            batch, length, window = *inputs.shape[:2], self.spec.window
            before = self._module.initial_state(batch) if state is None else state
            shapes = self.spec.state_shapes(batch)
            for name, shape in shapes.items():
                value = before[name]
                if (tuple(value.shape), value.dtype, value.device) != (tuple(shape), torch.float32, self._device):
                    got = f"{value.dtype} {tuple(value.shape)} on {value.device}"
                    what = f"state {name!r} must be torch.float32 {tuple(shape)} on {self._device}, got {got}"
                    raise InputError(what, "Give what the piece before returned, of as many sequences.")
            names = [name for name in shapes if name != "fusion"]
            packed = torch.cat([before[name].reshape(-1) for name in names])
            top = self._run(self._whole, inputs, packed)
            parts = torch.split(packed, [before[name].numel() for name in names])
            after = {name: part.view(shapes[name]) for name, part in zip(names, parts, strict=True)}
            if window > 1:
                top = torch.cat([before["fusion"].transpose(0, 1), top])
                after["fusion"] = top[1 - window :].transpose(0, 1)
            return self._module._read_out(top, length), after

    def initial_state(self, batch: int) -> State:
        """The zero state for `batch` sequences."""
        return self._module.initial_state(batch)

    def _run(self, prepared: _Prepared, inputs: Tensor, state: Tensor | None) -> Tensor:
        """The top layer's outputs that the head reads, (answers, B, H). state: packed, is replaced."""
        import torch

        from drnn_models.dilated_rnn import embed
        from drnn_runtimes.cuda_kernel.around import kernel_answers

        if inputs.device != self._device:
            raise InputError(f"the inputs are on {inputs.device}, the network on {self._device}")
        rows = embed(self.spec.input, self._module.embedding, inputs, torch.float32).contiguous()
        if rows.dtype != torch.float32 or rows.ndim != 3 or rows.shape[2] != self.spec.input.width or not rows.numel():
            wanted = f"float32 (B, T, {self.spec.input.width})"
            raise InputError(f"the kernel reads {wanted}, got {rows.dtype} {tuple(rows.shape)}")
        if rows.data_ptr() % _ALIGNED:  # a view into another tensor
            rows = rows.clone()
        batch, steps = rows.shape[:2]
        answers = kernel_answers(self.spec, steps)
        top = rows.new_empty(batch, answers, self.spec.hidden[-1])
        workspace = torch.empty(prepared.plan.workspace_bytes(batch), dtype=torch.uint8, device=self._device)
        at = 0 if state is None else state.data_ptr()
        addresses = rows.data_ptr(), prepared.weights.data_ptr(), at, at, workspace.data_ptr(), top.data_ptr()
        prepared.launch(addresses, batch, steps, answers)
        return top.transpose(0, 1)


class _Prepared:
    """A kernel with its weights on the device."""

    def __init__(self, plan: KernelPlan, weights: Tensor, launch: Launch) -> None:
        self.plan, self.weights, self.launch = plan, weights, launch


def _check_module(module: DilatedRNN) -> None:
    import torch

    if module.training:
        raise InputError("the kernel computes no gradients, and the module is in training", "Call module.eval().")
    types = {parameter.dtype for parameter in module.parameters()}
    if types != {torch.float32}:
        raise InputError(f"the kernel takes float32 weights, the module has {', '.join(map(str, types))}")


def _gpu_launch(device: Any, architecture: str, plan: KernelPlan) -> Launch:
    """Load the kernel in the context that torch has on the device; launches go to torch's current stream."""
    import torch

    with torch.cuda.device(device):
        torch.cuda.current_stream(device).synchronize()  # torch makes its context with its first work
        driver = Driver()
        kernel = driver.load(ExitStack(), compiled_image(plan, architecture), plan)  # stays as long as the process
        context = driver.call("cuCtxGetCurrent")

    def launch(addresses: Sequence[int], batch: int, steps: int, answers: int) -> None:
        with torch.cuda.device(device):
            driver.call("cuCtxSetCurrent", context)  # torch makes it a new thread's with its first work there
            kernel.launch(addresses, batch, steps, answers, torch.cuda.current_stream(device).cuda_stream)

    return launch
