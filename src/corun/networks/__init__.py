"""Dehazing networks: CORUN and the table of what can be loaded."""
