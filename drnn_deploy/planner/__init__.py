"""Which graph suits a target, from a fitted cost model."""
