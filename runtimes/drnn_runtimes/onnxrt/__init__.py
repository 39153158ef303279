"""ONNX Runtime, on each of its providers."""
