"""The parity matrix as a pytest plugin: `pytest --drnn-bundle DIR`.

One test for each bundle, runtime, graph and case, named after them, and one for each of its files, with the verdict and
the sentence of `drnn-parity`. A runtime that is missing skips its tests, or fails them with `--drnn-require`. Under
pytest-xdist every worker collects the same tests; each process computes what is right for a bundle once and keeps one
loaded graph at a time.

pytest imports this module in every run of everyone who has the package: nothing heavy may be imported here.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from drnn_deploy.parity.known_answers import ComputedAnswers
    from drnn_deploy.parity.results import CaseResult, FileResult
    from drnn_runtimes.bundle import Bundle, GraphInfo
    from drnn_runtimes.runtime import Runtime
    from drnn_runtimes.session import Session

_STATE = pytest.StashKey["_Matrix"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """See pytest."""
    group = parser.getgroup("drnn-deploy", "parity of drnn-deploy bundles")
    group.addoption(
        "--drnn-bundle",
        action="append",
        default=[],
        metavar="DIR",
        help="Check this bundle, one test for each runtime, graph and case; repeat for several.",
    )
    group.addoption(
        "--drnn-require",
        action="append",
        default=[],
        metavar="RUNTIME",
        help="Fail the tests of this runtime where it is missing, in place of skipping them; repeat for several.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Open the bundles, so that a bad one or an unknown runtime is one message and not a test."""
    folders, required = config.getoption("--drnn-bundle"), config.getoption("--drnn-require")
    if required and not folders:
        raise pytest.UsageError("--drnn-require needs --drnn-bundle DIR")
    if folders:
        from drnn_core.errors import DeployError

        try:
            config.stash[_STATE] = _Matrix(list(dict.fromkeys(folders)), required)
        except DeployError as error:
            raise pytest.UsageError(str(error)) from error


def pytest_unconfigure(config: pytest.Config) -> None:
    """Free the last graph that was loaded."""
    if (matrix := config.stash.get(_STATE, None)) is not None:
        matrix.close()


@pytest.hookimpl(tryfirst=True)  # so that -k and the like also choose among these tests
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the matrix behind the tests that pytest found."""
    if (matrix := config.stash.get(_STATE, None)) is None:
        return
    for name, bundle in matrix.bundles.items():
        parent = _BundleNode.from_parent(session, name=name, nodeid=f"drnn-parity::{name}")
        items.append(_ComparedItem.from_parent(parent, name="compared", matrix=matrix, bundle=bundle))
        items.extend(matrix.files(parent, bundle))
        items.extend(matrix.cells(parent, bundle))


class _Matrix:
    """The bundles, what is required, and the graph that is loaded at the moment."""

    def __init__(self, folders: list[str], required: list[str]) -> None:
        from pathlib import Path

        from drnn_deploy.parity.known_answers import ComputedAnswers
        from drnn_runtimes.bundle import Bundle
        from drnn_runtimes.registry import find_runtime

        self.required = {find_runtime(name).name for name in required}
        self.bundles = {folder: Bundle.open(Path(folder)) for folder in folders}
        self._open = contextlib.ExitStack()
        self._reasons: dict[tuple[Path, str, str], str] = {}
        self._loaded: tuple[Path, str, GraphInfo] | None = None
        self._session: Session | None = None
        # A damaged file is said here, once.
        self.answers = {bundle.folder: ComputedAnswers.of(bundle) for bundle in self.bundles.values()}

    def files(self, parent: pytest.Collector, bundle: Bundle) -> Iterator[_FileItem]:
        """One test for each file that is compared with what the weights make."""
        from drnn_runtimes.bundle import GOLDEN

        for name in (*(graph.file for graph in bundle.graphs), GOLDEN):
            yield _FileItem.from_parent(parent, name=name, matrix=self, bundle=bundle, file=name)

    def cells(self, parent: pytest.Collector, bundle: Bundle) -> Iterator[_CellItem]:
        """One test for each runtime, graph and case, whether the runtime is here or not."""
        from drnn_deploy.parity.graphs import graphs_for, shown_name
        from drnn_deploy.parity.one_case import names_of_cases
        from drnn_runtimes.registry import RUNTIMES

        for runtime in RUNTIMES.values():
            for graph in graphs_for(runtime, bundle):
                for case in names_of_cases(bundle, runtime, graph, self.answers[bundle.folder]):
                    name = f"{runtime.name}::{shown_name(runtime, graph)}::{case}"
                    cell = {"matrix": self, "bundle": bundle, "runtime": runtime, "graph": graph, "case": case}
                    yield _CellItem.from_parent(parent, name=name, **cell)

    def session(self, bundle: Bundle, runtime: Runtime, graph: GraphInfo) -> Session:
        """The loaded graph; another one is closed first, so that no two change a library's settings at a time."""
        wanted = (bundle.folder, runtime.name, graph)
        if self._loaded != wanted or self._session is None:
            self.close()
            self._session = self._open.enter_context(runtime.load(bundle, graph))
            self._loaded = wanted
        return self._session

    def close(self) -> None:
        """Free the loaded graph."""
        self._loaded = self._session = None
        self._open.close()

    def reason_to_skip(self, bundle: Bundle, runtime: Runtime, graph: GraphInfo) -> str:
        """Why a runtime cannot run a graph here, "" where it can."""
        key = (bundle.folder, runtime.name, graph.file)
        if key not in self._reasons:
            available = runtime.availability()
            missing = f"{available.detail}. {available.fix}".rstrip()
            self._reasons[key] = runtime.unsupported(bundle, graph) if available.usable else missing
        return self._reasons[key]

    def compares(self, bundle: Bundle, runtime: Runtime, graph: GraphInfo) -> bool:
        """Whether some case tells a wrong graph from a right one, so that a runtime may leave out the others."""
        from drnn_deploy.parity.compare import telling_outputs
        from drnn_deploy.parity.graphs import arithmetic
        from drnn_deploy.parity.inference import answered_case

        precision = arithmetic(runtime, graph)
        known = self.answers[bundle.folder].cases(graph)
        cases = (answered_case(bundle, graph, case, precision) for case in known)
        return bool(graph.states) or any(telling_outputs(case).any() for case in cases)

    def runs_any(self, bundle: Bundle, runtime: Runtime) -> bool:
        """Whether a runtime can run some graph of a bundle here."""
        return any(not self.reason_to_skip(bundle, runtime, graph) for graph in bundle.graphs)


class _BundleNode(pytest.Collector):
    """A bundle, as the parent of its tests."""

    def collect(self) -> Collection[pytest.Item]:
        return []


class _Item(pytest.Item):
    def __init__(self, *, matrix: _Matrix, bundle: Bundle, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.matrix, self.bundle = matrix, bundle

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.bundle.folder, None, self.name


class _FileItem(_Item):
    """One file of a bundle beside what its weights make."""

    def __init__(self, *, file: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.file = file

    def runtest(self) -> None:
        from drnn_core.errors import DeployError
        from drnn_deploy.reports.text import describe_file

        try:
            result = self._result()
        except DeployError as error:
            pytest.fail(str(error), pytrace=False)
        if not result.passed:
            pytest.fail(describe_file(result), pytrace=False)

    def _result(self) -> FileResult:
        from drnn_deploy.parity.golden_file import check_golden_file
        from drnn_deploy.parity.graph_file import check_graph_file
        from drnn_runtimes.bundle import GOLDEN

        if self.file == GOLDEN:
            return check_golden_file(self.bundle, self.matrix.answers[self.bundle.folder])
        return check_graph_file(self.bundle, self.bundle.graph(self.file))


class _CellItem(_Item):
    """One case of a bundle through one runtime and graph."""

    def __init__(self, *, runtime: Runtime, graph: GraphInfo, case: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.runtime, self.graph, self.case = runtime, graph, case

    def runtest(self) -> None:
        from drnn_core.errors import DeployError
        from drnn_deploy.reports.text import describe

        if reason := self.matrix.reason_to_skip(self.bundle, self.runtime, self.graph):
            self._leave_out(reason)
        try:
            result = self._result(self.matrix.answers[self.bundle.folder])
        except DeployError as error:
            pytest.fail(f"{self.runtime.name}: {error}", pytrace=False)
        self.user_properties.append(("largest error in noise", result.in_noise))  # goes into --junit-xml
        if result.verdict == "not compared" and self.matrix.compares(self.bundle, self.runtime, self.graph):
            pytest.skip(describe(result))
        if not result.passed:
            pytest.fail(f"{self.runtime.name} {self.graph.name}: {describe(result)}", pytrace=False)

    def _result(self, answers: ComputedAnswers) -> CaseResult:
        from drnn_deploy.parity.known_answers import StoredAnswers
        from drnn_deploy.parity.one_case import check_golden, check_named

        if self.runtime.is_reference:
            stored = {case.name: case for case in StoredAnswers(self.bundle).cases(self.graph)}
            return check_golden(answers, stored[self.case])
        session = self.matrix.session(self.bundle, self.runtime, self.graph)
        return check_named(session, self.bundle, self.graph, answers, self.case)

    def _leave_out(self, reason: str) -> None:
        if self.runtime.name in self.matrix.required and not self.matrix.runs_any(self.bundle, self.runtime):
            pytest.fail(f"{self.runtime.name} is required and cannot run here: {reason}", pytrace=False)
        pytest.skip(f"{self.runtime.name}: {reason}")


class _ComparedItem(_Item):
    """Fails where nothing is compared: a matrix in which every test is skipped must not look as if it passed."""

    def runtest(self) -> None:
        from drnn_runtimes.registry import RUNTIMES

        others = [runtime for runtime in RUNTIMES.values() if not runtime.is_reference]
        if not any(self.matrix.runs_any(self.bundle, runtime) for runtime in others):
            pytest.fail("no runtime besides the reference can run a graph here: nothing is compared", pytrace=False)
