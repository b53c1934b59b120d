"""The public data sets of this field: how each is laid out, read and checked."""
