"""What TensorRT's parsers will make of any ONNX file."""
