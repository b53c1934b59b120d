"""Typed configuration, the loop, checkpoints, and distribution over processes."""
