"""What no other machine can check: `python -m benchmarks.gpu.check`, on a machine with a GPU."""
