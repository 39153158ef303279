"""Dilated recurrent networks: specification, torch module, checkpoints. `spec`, `cone` and `weights` need no torch."""
