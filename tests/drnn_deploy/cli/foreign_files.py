"""Files of weights as others write them, and how an import of them is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from drnn_models.interop.choices import Choices
from drnn_models.interop.convert import import_weights
from drnn_models.interop.layouts import Layout
from drnn_models.interop.state_dict import read_state_dict
from drnn_runtimes.reference.loop import run_reference
from tests.drnn_deploy.conftest import Command
from tests.models.interop.foreign_states import FIXTURES, wrapped
from tests.networks import random_inputs

ZALANDO = FIXTURES / "zalando-gru-copy.pt"


def tensors() -> dict[str, torch.Tensor]:
    """The state dict of a module around zalando's DRNN."""
    return {name: torch.from_numpy(value) for name, value in wrapped().items()}


def saved(path: Path, data: object) -> Path:
    torch.save(data, path)
    return path


def recorded(path: Path, file: Path, layout: Layout, choices: Choices) -> Path:
    """What an original that does not use the ignored weights computes."""
    made = import_weights(read_state_dict(file).arrays, layout, choices)
    inputs = random_inputs(made.spec, 2, 12, 0)
    np.savez(path, inputs=inputs, outputs=run_reference(made.spec, made.weights, inputs).outputs)
    return path


def refused(command: Command, file: Path, *options: object, layout: str = "zalando") -> tuple[str, str]:
    """Import, and check the refusal: exit code 2, one message that names the file, advice, and nothing written."""
    before = sorted(file.parent.rglob("*"))
    ran = command("drnn-deploy", "import", file, "--layout", layout, "--output", file.parent / "out.pt", *options)
    assert (ran.code, ran.out) == (2, "")
    message, *advice = ran.err.strip().splitlines()
    assert message.startswith(f"drnn-deploy: {file}")
    assert advice
    assert sorted(file.parent.rglob("*")) == before
    return message, "\n".join(advice)
