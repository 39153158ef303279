"""Weights of other projects become a `ModelSpec` and weights of ours."""
