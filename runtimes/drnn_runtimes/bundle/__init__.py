"""Bundles: the folder that an export writes and every runtime reads. Needs no torch."""

from drnn_runtimes.bundle.bundle import GOLDEN, NATIVE, PARITY, WEIGHTS, Bundle
from drnn_runtimes.bundle.golden import GoldenCase
from drnn_runtimes.bundle.infos import EngineInfo, GraphInfo, KernelInfo
from drnn_runtimes.bundle.manifest import FORMAT, MANIFEST, manifest_checksum, manifest_schema

__all__ = [
    "FORMAT",
    "GOLDEN",
    "MANIFEST",
    "NATIVE",
    "PARITY",
    "WEIGHTS",
    "Bundle",
    "EngineInfo",
    "GoldenCase",
    "GraphInfo",
    "KernelInfo",
    "manifest_checksum",
    "manifest_schema",
]
