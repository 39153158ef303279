"""Trained networks, a folder per task: checkpoint, recipe, training curve and card.

Installed as `drnn_zoo`; `drnn_deploy.zoo` finds it there and in the source tree.
"""
