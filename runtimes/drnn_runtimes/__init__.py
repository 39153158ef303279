"""Runtimes for bundles: the same verbs over NumPy, PyTorch, ONNX Runtime and TensorRT."""

import os

# ONNX Runtime from 1.29 on reports each session to its makers, and complains where there is no home folder to keep a
# number of this machine in. Whoever wants that sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
