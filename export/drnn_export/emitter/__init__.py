"""A `GraphRequest` becomes an ONNX model, node by node."""
