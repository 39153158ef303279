"""The network as C: one header, the sizes and weights of a network for it, and what compiles and loads both."""
