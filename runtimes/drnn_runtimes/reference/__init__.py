"""The float64 oracle, and the same loop in emulated precisions."""
