"""The affine map in NumPy: one matrix product each way. x (N, I), w (O, I), b (O,)."""


def linear(x, w, b):
    """eq: dense.affine"""
    z = x @ w.T
    return z if b is None else z + b


def linear_grad_x(gy, w):
    """eq: dense.grad_x"""
    return gy @ w


def linear_grad_w(gy, x):
    """eq: dense.grad_w"""
    return gy.T @ x


def linear_grad_b(gy):
    """eq: dense.grad_b"""
    return gy.sum(axis=0)
