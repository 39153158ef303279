"""Recipes, the training loop, experiments and the page of results."""
