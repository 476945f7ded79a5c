"""Differentiable operations on tensors, one file a family; the names and arguments are PyTorch's where it has the operation."""
