"""Dilated recurrent networks from PyTorch to ONNX and TensorRT, with proof that every runtime computes the same.

from drnn_deploy import export, ExportOptions
result = export("model.pt", "bundle", ExportOptions(batch=8))
assert result.exit_code == 0
"""

from typing import TYPE_CHECKING

from drnn_core.public_names import public_names

if TYPE_CHECKING:
    from drnn_core.errors import DeployError
    from drnn_deploy.audio_classifier import AudioClassifier, Prediction
    from drnn_deploy.debug.explain import explain_report
    from drnn_deploy.debug.explanation import Explanation
    from drnn_deploy.debug.repro import Reproduction
    from drnn_deploy.evaluation import Evaluation, evaluate_bundle, evaluate_checkpoint
    from drnn_deploy.exporter.options import ExportOptions
    from drnn_deploy.exporter.pipeline import ExportResult, export
    from drnn_deploy.importing.import_network import ImportResult, import_network
    from drnn_deploy.matrix.options import MatrixOptions
    from drnn_deploy.matrix.run import check_bundle, check_path
    from drnn_deploy.parity.check import check_parity
    from drnn_deploy.parity.results import CaseResult, ParityReport, ParityRow
    from drnn_deploy.parity.tolerance import Tolerance
    from drnn_deploy.planner.plan import Plan, plan_checkpoint
    from drnn_deploy.training.loop import train
    from drnn_deploy.training.recipe import Recipe, load_recipe
    from drnn_deploy.training.training_run import TrainingRun
    from drnn_runtimes.bundle import Bundle

    __version__: str
else:
    __getattr__, __dir__ = public_names(
        __name__,
        {
            "drnn_core.errors": ("DeployError",),
            "drnn_deploy.audio_classifier": ("AudioClassifier", "Prediction"),
            "drnn_deploy.debug.explain": ("explain_report",),
            "drnn_deploy.debug.explanation": ("Explanation",),
            "drnn_deploy.debug.repro": ("Reproduction",),
            "drnn_deploy.evaluation": ("Evaluation", "evaluate_bundle", "evaluate_checkpoint"),
            "drnn_deploy.exporter.options": ("ExportOptions",),
            "drnn_deploy.exporter.pipeline": ("ExportResult", "export"),
            "drnn_deploy.importing.import_network": ("ImportResult", "import_network"),
            "drnn_deploy.matrix.options": ("MatrixOptions",),
            "drnn_deploy.matrix.run": ("check_bundle", "check_path"),
            "drnn_deploy.parity.check": ("check_parity",),
            "drnn_deploy.parity.results": ("CaseResult", "ParityReport", "ParityRow"),
            "drnn_deploy.parity.tolerance": ("Tolerance",),
            "drnn_deploy.planner.plan": ("Plan", "plan_checkpoint"),
            "drnn_deploy.training.loop": ("train",),
            "drnn_deploy.training.recipe": ("Recipe", "load_recipe"),
            "drnn_deploy.training.training_run": ("TrainingRun",),
            "drnn_runtimes.bundle": ("Bundle",),
        },
    )

__all__ = [
    "AudioClassifier",
    "Bundle",
    "CaseResult",
    "DeployError",
    "Evaluation",
    "Explanation",
    "ExportOptions",
    "ExportResult",
    "ImportResult",
    "MatrixOptions",
    "ParityReport",
    "ParityRow",
    "Plan",
    "Prediction",
    "Recipe",
    "Reproduction",
    "Tolerance",
    "TrainingRun",
    "check_bundle",
    "check_parity",
    "check_path",
    "evaluate_bundle",
    "evaluate_checkpoint",
    "explain_report",
    "export",
    "import_network",
    "load_recipe",
    "plan_checkpoint",
    "train",
]
