"""Runtimes for bundles: the same verbs over NumPy, PyTorch, ONNX Runtime and TensorRT."""
