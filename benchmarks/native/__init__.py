"""Measurements of the C that `drnn-export --native` writes."""
