"""The network as C: one header, the sizes and weights of a network for it, and a runtime that compiles both."""
