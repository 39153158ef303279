"""All graphs, runtimes and task data of a bundle or checkpoint."""
