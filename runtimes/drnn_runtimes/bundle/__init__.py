"""Bundles: the folder that an export writes and every runtime reads. Needs no torch."""

from drnn_runtimes.bundle.bundle import (
    FORMAT,
    GOLDEN,
    MANIFEST,
    PARITY,
    WEIGHTS,
    Bundle,
    EngineInfo,
    GraphInfo,
    manifest_checksum,
    manifest_schema,
)
from drnn_runtimes.bundle.golden import GoldenCase

__all__ = [
    "FORMAT",
    "GOLDEN",
    "MANIFEST",
    "PARITY",
    "WEIGHTS",
    "Bundle",
    "EngineInfo",
    "GoldenCase",
    "GraphInfo",
    "manifest_checksum",
    "manifest_schema",
]
