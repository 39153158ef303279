"""Weights and spec to an ONNX graph to a TensorRT engine. Imports no torch."""
