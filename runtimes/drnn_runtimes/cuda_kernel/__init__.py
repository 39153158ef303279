"""A dilated stack as one CUDA kernel: its text, its images, and packed weights. Nothing here needs a GPU.

    plan = plan_kernel(spec, KernelOptions(answers=1, shared_memory=SHARED_MEMORY["87"]))
    packed = pack_weights(plan, weights)            # bytes for the device
    image = compile_kernel(plan, "87")              # a cubin, by NVRTC, or
    outputs, state = HostKernel(plan).run(...)      # the same text on the CPU

The kernel computes the recurrent layers. Outside are, before it, the rows that the first layer reads (an embedding or
one-hot vectors), and after it the head with its fusion window: of answers that read `window` outputs of the top layer,
the last `head.output_steps(T) + window - 1` are asked for.

Signature, as `cuLaunchKernel` sees it, nine arguments:

    drnn_stack(const float* x,          (B, T, C)
               const char* weights,     what `pack_weights` gives
               const float* state,      null for zeros, or what `pack_state` gives: of each layer h (B, d, H) oldest
                                        first, and of an LSTM then c, one layer after the other
               float* next_state,       null, or where the state after the last step goes; it may be `state`
               float* workspace,        `plan.workspace_bytes(B)`, any content; null where that is 0
               float* y,                (B, answers, H): the top layer's h of the last steps
               int B, int T, int answers)

Launch: grid `plan.grid(B)`, block `plan.threads`, dynamic shared memory `plan.shared_bytes`, which above 48 KiB needs
CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES. A plan for `KernelOptions(answers=n)` leaves out what cannot reach the
last n steps: it takes answers from 1 to n, and states only where `plan.keeps_state`. Others take answers from 1 to T.
Pointers are multiples of 16 bytes. `plan.check_launch` refuses what would be wrong.

Chunks and steps are launches with a state; the same image serves every T and B.
"""

from drnn_runtimes.cuda_kernel.constants import kernel_source
from drnn_runtimes.cuda_kernel.from_torch import accelerate
from drnn_runtimes.cuda_kernel.host_build import HostKernel
from drnn_runtimes.cuda_kernel.nvrtc import compile_kernel
from drnn_runtimes.cuda_kernel.plan import SHARED_MEMORY, KernelOptions, KernelPlan
from drnn_runtimes.cuda_kernel.planner import plan_kernel
from drnn_runtimes.cuda_kernel.weights import pack_state, pack_weights, unpack_state

__all__ = [
    "SHARED_MEMORY",
    "HostKernel",
    "KernelOptions",
    "KernelPlan",
    "accelerate",
    "compile_kernel",
    "kernel_source",
    "pack_state",
    "pack_weights",
    "plan_kernel",
    "unpack_state",
]
