"""Statistics of natural pictures, as pure batched functions of tensors."""
