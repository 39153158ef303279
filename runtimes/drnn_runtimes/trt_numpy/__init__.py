"""A NumPy interpreter of NVIDIA's `INetworkDefinition`."""
