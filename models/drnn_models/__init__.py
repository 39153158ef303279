"""Dilated recurrent networks: specification, torch module, checkpoints. `spec`, `cone` and `weights` need no torch."""

from typing import TYPE_CHECKING

from drnn_core.public_names import public_names

if TYPE_CHECKING:
    from drnn_core.types import Examples
    from drnn_models.baseline_modules import DilatedCNN, SkipRNN
    from drnn_models.baseline_specs import ConvSpec, SkipSpec
    from drnn_models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from drnn_models.dilated_rnn import DilatedRNN
    from drnn_models.interop.choices import Choices
    from drnn_models.interop.convert import Imported, import_weights
    from drnn_models.interop.import_file import import_file
    from drnn_models.path_lengths import MemoryReport, analyse, suggest
    from drnn_models.spec import Continuous, Head, ModelSpec, Tokens

    __version__: str
else:
    __getattr__, __dir__ = public_names(
        __name__,
        {
            "drnn_core.types": ("Examples",),
            "drnn_models.baseline_modules": ("DilatedCNN", "SkipRNN"),
            "drnn_models.baseline_specs": ("ConvSpec", "SkipSpec"),
            "drnn_models.checkpoint": ("Checkpoint", "load_checkpoint", "save_checkpoint"),
            "drnn_models.dilated_rnn": ("DilatedRNN",),
            "drnn_models.interop.choices": ("Choices",),
            "drnn_models.interop.convert": ("Imported", "import_weights"),
            "drnn_models.interop.import_file": ("import_file",),
            "drnn_models.path_lengths": ("MemoryReport", "analyse", "suggest"),
            "drnn_models.spec": ("Continuous", "Head", "ModelSpec", "Tokens"),
        },
    )

__all__ = [
    "Checkpoint",
    "Choices",
    "Continuous",
    "ConvSpec",
    "DilatedCNN",
    "DilatedRNN",
    "Examples",
    "Head",
    "Imported",
    "MemoryReport",
    "ModelSpec",
    "SkipRNN",
    "SkipSpec",
    "Tokens",
    "analyse",
    "import_file",
    "import_weights",
    "load_checkpoint",
    "save_checkpoint",
    "suggest",
]
