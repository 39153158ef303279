"""What every package stands on: errors, files, types, processes. Knows no network."""

from typing import TYPE_CHECKING

from drnn_core.public_names import public_names

if TYPE_CHECKING:
    from drnn_core.errors import DeployError, EngineError, InputError, ParityError, RuntimeUnavailableError, SpecError
    from drnn_core.types import Availability, Emission, Examples, Form, Precision, TensorInfo

    __version__: str
else:
    __getattr__, __dir__ = public_names(
        __name__,
        {
            "drnn_core.errors": (
                "DeployError",
                "EngineError",
                "InputError",
                "ParityError",
                "RuntimeUnavailableError",
                "SpecError",
            ),
            "drnn_core.types": ("Availability", "Emission", "Examples", "Form", "Precision", "TensorInfo"),
        },
    )

__all__ = [
    "Availability",
    "DeployError",
    "Emission",
    "EngineError",
    "Examples",
    "Form",
    "InputError",
    "ParityError",
    "Precision",
    "RuntimeUnavailableError",
    "SpecError",
    "TensorInfo",
]
