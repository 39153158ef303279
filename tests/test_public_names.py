"""What `from drnn_... import NAME` gives: these names, and no heavy module until one of them is used."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

from drnn_core.environment import package_version

NAMES = {
    "drnn_core": """
        Availability DeployError Emission EngineError Examples Form InputError ParityError Precision
        RuntimeUnavailableError SpecError TensorInfo
    """,
    "drnn_models": """
        Checkpoint Choices Continuous ConvSpec DilatedCNN DilatedRNN Examples Head Imported MemoryReport ModelSpec
        SkipRNN SkipSpec Tokens analyse import_file import_weights load_checkpoint save_checkpoint suggest
    """,
    "drnn_runtimes": """
        Bundle EngineInfo GoldenCase GraphInfo RUNTIMES Reference Runtime Session Stream StreamState find_runtime
        require run_reference
    """,
    "drnn_export": """
        BuildControls Difference Estimate Finding GraphRequest backend_availability build_engine build_targets
        differences emit estimate lint_file lint_model
    """,
    "drnn_deploy": """
        AudioClassifier Bundle CaseResult DeployError Evaluation Explanation ExportOptions ExportResult ImportResult
        MatrixOptions ParityReport ParityRow Plan Prediction Recipe Reproduction Tolerance TrainingRun check_bundle
        check_parity check_path evaluate_bundle evaluate_checkpoint explain_report export import_network load_recipe
        plan_checkpoint train
    """,
}
HEAVY = ("torch", "onnx", "onnxruntime", "numpy", "jsonschema", "matplotlib")


@pytest.mark.parametrize("package", NAMES)
def test_names_are_these(package: str) -> None:
    module = importlib.import_module(package)
    assert sorted(module.__all__) == NAMES[package].split()
    assert dir(module) == sorted([*module.__all__, "__version__"])


@pytest.mark.parametrize("package", NAMES)
def test_every_name_is_there(package: str) -> None:
    values = [getattr(importlib.import_module(package), name) for name in NAMES[package].split()]
    assert not any(isinstance(value, ModuleType) for value in values)


@pytest.mark.parametrize("package", NAMES)
def test_every_function_checks_its_arguments(package: str) -> None:
    module = importlib.import_module(package)
    functions = [value for name in module.__all__ if inspect.isfunction(value := getattr(module, name))]
    assert [function.__name__ for function in functions if not hasattr(function, "__wrapped__")] == []


@pytest.mark.parametrize("package", NAMES)
def test_no_module_of_a_package_hides_a_public_name(package: str) -> None:
    modules = {module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)}
    assert modules
    assert modules.isdisjoint(NAMES[package].split())


@pytest.mark.parametrize("package", NAMES)
def test_other_names_are_refused(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__version__ == package_version()
    with pytest.raises(AttributeError, match=f"'{package}' has no attribute 'no_such_name'"):
        module.no_such_name  # noqa: B018
    with pytest.raises(ImportError, match="no_such_name"):
        exec(f"from {package} import no_such_name")


def loaded_by(code: str) -> set[str]:
    """The top-level modules that a new Python has after this code."""
    show = "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    found = subprocess.run([sys.executable, "-c", code + show], capture_output=True, text=True, check=True)
    return set(found.stdout.split())


def test_packages_load_nothing_heavy() -> None:
    loaded = loaded_by(f"import {', '.join(NAMES)}, drnn_zoo")
    assert loaded >= set(NAMES)
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize(
    "names", ["drnn_runtimes import find_runtime, Bundle", "drnn_deploy import check_bundle, Plan"]
)
def test_names_that_run_bundles_load_no_torch(names: str) -> None:
    loaded = loaded_by(f"from {names}")
    assert "numpy" in loaded
    assert "torch" not in loaded
