"""Activations in Numba, element by element. Fast because nothing branches: each loop is vector code, bounded by memory."""

from numba import prange

from minseg.kernels import memory
from minseg.kernels.cpu.elementary import exp, expm1
from minseg.kernels.cpu.jit import parallel_kernel


def elementwise(loop, *arrays):
    """Run loop(*arrays, out) on flat arrays, and return out in their shape."""
    out = memory.empty(arrays[0].shape, arrays[0].dtype)
    loop(*(array.reshape(-1) for array in arrays), out.reshape(-1))
    return out


@parallel_kernel
def _relu(x, y):
    zero = x.dtype.type(0)
    for i in prange(x.size):
        y[i] = zero if x[i] <= zero else x[i]  # NaN <= 0 is false: NaN stays


def relu(x):
    """eq: act.relu"""
    return elementwise(_relu, x)


@parallel_kernel
def _relu_grad_x(gy, y, gx):
    zero = y.dtype.type(0)
    for i in prange(y.size):
        gx[i] = gy[i] if y[i] > zero else zero


def relu_grad_x(gy, y):
    """eq: act.relu_grad"""
    return elementwise(_relu_grad_x, gy, y)


@parallel_kernel
def _sigmoid(x, y):
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for i in prange(x.size):
        e = exp(-abs(x[i]))
        y[i] = (e if x[i] < zero else one) / (one + e)


def sigmoid(x):
    """eq: act.sigmoid. For x < 0 the fraction is extended by exp(x), so that exp never overflows."""
    return elementwise(_sigmoid, x)


@parallel_kernel
def _sigmoid_grad_x(gy, y, gx):
    one = y.dtype.type(1)
    for i in prange(y.size):
        gx[i] = gy[i] * y[i] * (one - y[i])


def sigmoid_grad_x(gy, y):
    """eq: act.sigmoid_grad"""
    return elementwise(_sigmoid_grad_x, gy, y)


@parallel_kernel
def _tanh(x, y):
    zero, two = x.dtype.type(0), x.dtype.type(2)
    for i in prange(x.size):
        e = expm1(-two * abs(x[i]))
        size = -e / (two + e)
        y[i] = -size if x[i] < zero else size


def tanh(x):
    """eq: act.tanh. Above and below extended by exp(-x), and 1 taken off exp(-2 |x|) before it is rounded: exact near 0 too."""
    return elementwise(_tanh, x)


@parallel_kernel
def _tanh_grad_x(gy, y, gx):
    one = y.dtype.type(1)
    for i in prange(y.size):
        gx[i] = gy[i] * (one - y[i] * y[i])


def tanh_grad_x(gy, y):
    """eq: act.tanh_grad"""
    return elementwise(_tanh_grad_x, gy, y)
