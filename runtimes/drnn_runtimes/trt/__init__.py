"""TensorRT engines, through either of NVIDIA's two Python modules."""
