"""Trained networks, a folder per task: checkpoint, recipe, training curve and card. Installed as `drnn_zoo`."""
