"""One runtime on one graph against float64."""
