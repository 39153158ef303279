"""Data sets: where they lie, how they get there, and how they are checked."""

from drnn_deploy.datasets.registry import DATASETS, DataSet, FileResult, Progress, fetch, folder, root, verify

__all__ = ["DATASETS", "DataSet", "FileResult", "Progress", "fetch", "folder", "root", "verify"]
