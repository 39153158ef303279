"""Measurements behind the figures in the documentation; results are committed beside them."""
