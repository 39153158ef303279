"""An ONNX file becomes a TensorRT engine, in a worker process."""
