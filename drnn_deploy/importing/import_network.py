"""`import_network`: a network of other PyTorch code as a checkpoint, proven where the original's outputs are saved."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from drnn_core.arguments import checked_arguments
from drnn_deploy.importing.compare import compare_with_original
from drnn_deploy.parity.results import CaseResult
from drnn_models.interop.choices import Choices
from drnn_models.interop.convert import Imported
from drnn_models.interop.import_file import import_file
from drnn_models.interop.layouts import Layout


@dataclasses.dataclass(frozen=True)
class ImportResult:
    """An imported network.

    Attributes:
        imported: The network, with what was assumed.
        comparison: How far it is from the original, within the limit of parity; None where nothing was compared.
    """

    imported: Imported
    comparison: tuple[CaseResult, ...] | None


@checked_arguments
def import_network(
    path: Path | str,
    output: Path | str,
    layout: Layout | None = None,
    choices: Choices | None = None,
    *,
    compare: Path | str | None = None,
    force: bool = False,
) -> ImportResult:
    """Import a network of other PyTorch code, and prove that it is the original.

    Args:
        path: The file with its weights.
        output: The checkpoint to write.
        layout: How the names of the weights are written; None where they show it.
        choices: What the weights do not say.
        compare: An .npz file with `inputs` and `outputs` of the original. Without it, the result's notes say what
            could not be seen.
        force: Whether `output` may be replaced.

    Returns:
        The network and its comparison.

    Raises:
        ParityError: The original's outputs are not the network's. Nothing is written.
        InputError: The file cannot be imported, or `compare` proves nothing. Nothing is written.
    """
    comparison: list[CaseResult] = []

    def prove(imported: Imported) -> None:
        if compare is not None:
            comparison.extend(compare_with_original(imported, Path(compare)))

    imported = import_file(path, output, layout, choices, force=force, check=prove if compare is not None else None)
    return ImportResult(imported, tuple(comparison) or None)
