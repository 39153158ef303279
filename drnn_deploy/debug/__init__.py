"""Which stage, node or constant of a graph is wrong."""
