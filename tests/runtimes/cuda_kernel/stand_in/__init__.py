"""A stand-in for the CUDA driver, in processes of its own: nothing else on this machine takes it for a GPU."""
