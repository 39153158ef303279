"""The standard set of speed measurements: `make bench`."""
