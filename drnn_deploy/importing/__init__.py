"""Networks of other PyTorch code become checkpoints, proven by what the original computed."""
