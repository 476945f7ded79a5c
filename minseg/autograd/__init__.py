"""Automatic differentiation: a tape of Functions, the operators of Tensor, and a checker for gradients."""

from minseg.autograd.tensor import Function, Parameter, Tensor, no_grad, tensor, topological

__all__ = ["Function", "Parameter", "Tensor", "no_grad", "tensor", "topological"]
