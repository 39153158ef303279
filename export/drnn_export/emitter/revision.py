"""The revision of the emitter: raised whenever it makes another graph of the same network.

A bundle's manifest says which revision made its graphs, so that a file can be held against what the weights make today.
`tests/export/emitter/test_revision.py` pins the digests of a set of graphs to the number, and fails where one changes
and the number does not.
"""

EMITTER_REVISION = 3
