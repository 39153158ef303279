"""The dilated stack as one node of an ONNX graph, and as a plugin of TensorRT that computes it with the CUDA kernel."""
