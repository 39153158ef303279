"""Data sets: their files, the routes by which the files come, and the checks."""

from drnn_deploy.datasets.registry import DATASETS, DataSet, FileResult, Progress, fetch, folder, root, verify

__all__ = ["DATASETS", "DataSet", "FileResult", "Progress", "fetch", "folder", "root", "verify"]
