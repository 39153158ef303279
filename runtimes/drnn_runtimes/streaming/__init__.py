"""State between chunks: delay lines, buffers, save and restore."""
