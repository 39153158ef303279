"""Bundles: the folder that an export writes and every runtime reads. Needs no torch.

model.onnx, ...     graphs, one per form and emission
engines/            TensorRT engines, each with its sidecar
cuda-kernel/        images of the CUDA kernel for named GPUs
native/             the network as C sources, for people: nothing here compiles or loads them
weights.safetensors the weights in torch's gate order, for the reference and torch runtimes
golden.npz          inputs, float64 outputs and float32 noise of every golden case
parity.json         what the parity run at export found
manifest.json       what all of these are, with the sha256 of each
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drnn_core.arguments import checked_arguments
from drnn_core.bounds import UNPACKED, check_safetensors, shown_bytes
from drnn_core.errors import EngineError, InputError
from drnn_core.files import sha256
from drnn_models.spec import ModelSpec
from drnn_models.weights import Weights, check_weights
from drnn_runtimes.bundle.cost import most_graph_bytes, most_weight_bytes
from drnn_runtimes.bundle.golden import GoldenCase, read_golden
from drnn_runtimes.bundle.infos import EngineInfo, GraphInfo, KernelInfo
from drnn_runtimes.bundle.manifest import MANIFEST, REBUILD, check_inside, read_manifest

if TYPE_CHECKING:
    from drnn_runtimes.streaming.stream import Stream

USUAL_RUNTIME = "onnxruntime-cpu"
_MOST_ENGINE, _MOST_OTHER = 4 << 30, 64 << 20  # bytes of a file
_SOURCE_BYTES = 24  # of C for a byte of weights: 11 for 4 bytes, and at worst eight rows of which seven are padding
GOLDEN, WEIGHTS, PARITY, NATIVE = "golden.npz", "weights.safetensors", "parity.json", "native"


@dataclasses.dataclass(frozen=True)
class Bundle:
    """An opened bundle whose files are what its manifest says.

    Attributes:
        folder: Where it is.
        spec: The network.
        task: What the network was trained for; empty where unknown.
        graphs: Its ONNX files.
        engines: Its engines.
        files: Relative path -> sha256.
        versions: Package -> version, of the export.
        emitter: The revision of the emitter that wrote the graphs; 0 where the manifest does not say.
        kernels: Its images of the CUDA kernel.
        checked: Whether its graphs are pieces of one that was found fit to run, and need not be asked again.
    """

    folder: Path
    spec: ModelSpec
    task: dict[str, Any]
    graphs: tuple[GraphInfo, ...]
    engines: tuple[EngineInfo, ...]
    files: dict[str, str]  # relative path -> sha256
    versions: dict[str, str]
    emitter: int = 0
    kernels: tuple[KernelInfo, ...] = ()
    checked: bool = False

    @classmethod
    @checked_arguments
    def open(cls, folder: Path | str, *, verify: bool = True) -> Bundle:
        """Read a bundle.

        Args:
            folder: Where it is.
            verify: Whether to compare every file's sha256 with the manifest; its size is in any case.

        Raises:
            InputError: The manifest or a file is missing, damaged or edited.
            EngineError: An engine or its sidecar is.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        bundle = cls(
            folder=folder,
            spec=manifest.spec,
            task=manifest.task,
            graphs=manifest.graphs,
            engines=manifest.engines,
            files={name: file.sha256 for name, file in manifest.files.items()},
            versions=manifest.versions,
            emitter=manifest.emitter,
            kernels=manifest.kernels,
        )
        bundle._check_files({name: file.bytes for name, file in manifest.files.items()}, verify)
        return bundle

    @checked_arguments
    def run(
        self, inputs: object, *, runtime: str = USUAL_RUNTIME, form: str | None = None, threads: int | None = None
    ) -> NDArray[np.generic]:
        """Run any number of sequences, each from the zero state. To run again and again, keep a session open instead.

        Args:
            inputs: (N, T, C) or tokens (N, T), of any type of numbers.
            runtime: The name of the runtime.
            form: Name, kind or form of the graph; None for the first that takes T steps, as a stream if it has state,
                and that the runtime can run.
            threads: Threads of the runtime; None for its default.

        Returns:
            (N, outputs) or (N, k, outputs); of a stream (N, m, outputs), an answer for every step or, with a head that
            looks back, for every chunk.

        Raises:
            InputError: The inputs are none of the network's, or there is no such graph or runtime.
            RuntimeUnavailableError: The runtime is missing here, or cannot run the graph.
        """
        from drnn_runtimes.registry import chosen_runtime
        from drnn_runtimes.whole_runs import run_sequences

        return run_sequences(self, inputs, chosen_runtime(runtime, threads), form).outputs

    @checked_arguments
    def stream(
        self,
        form: str | None = None,
        *,
        runtime: str = USUAL_RUNTIME,
        batch: int | None = None,
        threads: int | None = None,
    ) -> AbstractContextManager[Stream]:
        """Stream through a graph with state; see `drnn_runtimes.runtime.Runtime.stream`.

        Args:
            form: Name, kind or form of the graph; None for the first that has a state, takes the batch, and that the
                runtime can run.
            runtime: The name of the runtime.
            batch: Sequences that are fed in step; None for the graph's, or 1.
            threads: As for `run`.

        Returns:
            A context manager that gives the stream.

        Raises:
            InputError: There is no such graph or runtime.
        """
        from drnn_runtimes.registry import chosen_runtime

        return chosen_runtime(runtime, threads).stream(self, form, batch=batch)

    def path(self, name: str) -> Path:
        """The path of a file of the bundle."""
        return self.folder / name

    @property
    def native(self) -> list[str]:
        """The C sources, as names of `files`; nothing where the bundle has none."""
        return [name for name in self.files if name.startswith(f"{NATIVE}/")]

    @checked_arguments
    def graph(self, name: str) -> GraphInfo:
        """Find a graph.

        Args:
            name: Its file, form, kind, or kind/emission.

        Raises:
            InputError: There is none.
        """
        for graph in self.graphs:
            if name in (graph.file, graph.name, graph.kind, graph.form):
                return graph
        known = ", ".join(graph.name for graph in self.graphs)
        raise InputError(f"{self.folder} has no graph {name!r}", f"It has: {known}.")

    @functools.cached_property
    def weights(self) -> Weights:
        """The weights, in torch's gate order.

        Raises:
            InputError: The file is damaged or does not fit the spec.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            check_safetensors(self.path(WEIGHTS), most_weight_bytes(self.spec))
            return check_weights(self.spec, load_file(self.path(WEIGHTS)))
        except (OSError, ValueError, SafetensorError) as error:
            raise InputError(f"cannot read {self.path(WEIGHTS)}: {error}", REBUILD) from error
        except InputError as error:
            raise InputError(f"{self.path(WEIGHTS)}: {error.message}", REBUILD) from error

    @functools.cached_property
    def golden(self) -> tuple[GoldenCase, ...]:
        """The golden cases.

        Raises:
            InputError: The file is damaged.
        """
        return read_golden(self.path(GOLDEN), self.spec, self.graphs)

    def _check_files(self, sizes: Mapping[str, int], verify: bool) -> None:
        of_engines = {name for engine in self.engines for name in (engine.file, engine.sidecar)}
        files = [*(graph.file for graph in self.graphs), *(kernel.file for kernel in self.kernels)]
        named = {WEIGHTS, GOLDEN, *files} | of_engines
        if unlisted := sorted(named - set(self.files)):
            raise InputError(f"{self.folder / MANIFEST} names {unlisted[0]!r} but lists no sha256 for it", REBUILD)
        for name, expected in self.files.items():
            path, damaged = self.path(name), EngineError if name in of_engines else InputError
            if not path.is_file():
                raise damaged(f"{path} is missing from the bundle", REBUILD)
            check_inside(self.folder, path)
            if (size := path.stat().st_size) > (most := self._most_bytes(name)):
                raise damaged(f"{path} has {shown_bytes(size)}, more than {shown_bytes(most)}", REBUILD)
            differs = "size" if size != sizes[name] else "sha256" if verify and sha256(path) != expected else ""
            if differs:
                raise damaged(f"{path} is not the file that the manifest describes: its {differs} differs", REBUILD)

    def _most_bytes(self, name: str) -> int:
        """The largest size that a file of its kind can have."""
        for graph in self.graphs:
            if name == graph.file:
                return most_graph_bytes(self.spec, graph)
        if name == WEIGHTS:
            return most_weight_bytes(self.spec)
        if name == GOLDEN:
            return UNPACKED
        if name.startswith(f"{NATIVE}/"):
            return _MOST_OTHER + _SOURCE_BYTES * most_weight_bytes(self.spec)
        return _MOST_ENGINE if any(name == engine.file for engine in self.engines) else _MOST_OTHER
