"""Samples for the equations of convolution: non-square kernels; stride, dilation and padding at once."""

from collections.abc import Callable, Iterator

import numpy as np

from minseg import backend, ops
from minseg.autograd import tensor
from minseg.kernels import shapes, winograd
from minseg.testing.equations import Sample
from minseg.testing.samples.backward import gradient

# (stride, dilation, padding), (R, S): one index policy or step less than these, and a wrong equation would pass.
WINDOWS = (((1, 1, 0), (2, 3)), ((2, 1, 2), (2, 3)), ((1, 3, 2), (3, 2)), ((3, 2, 1), (2, 3)))
UNDILATED = (((1, 1, 0), (2, 3)), ((2, 1, 2), (2, 3)), ((3, 1, 2), (4, 3)))
FEW = WINDOWS[1:]
"""For equations with many sums, where each sample takes long."""

N, C, O, H, W = 2, 3, 4, 5, 4


def _values(s: int, d: int, P: int, **others) -> dict[str, object]:
    return {"s": s, "d": d, "P": P, **others}


def _output(s: int, d: int, P: int, R: int, S: int) -> tuple[int, int]:
    return shapes.conv_size(H, R, s, P, d), shapes.conv_size(W, S, s, P, d)


def _correlation(rng: np.random.Generator, operation: Callable) -> Iterator[Sample]:
    for (s, d, P), (R, S) in WINDOWS:
        x, w, b = rng.standard_normal((N, C, H, W)), rng.standard_normal((O, C, R, S)), rng.standard_normal(O)

        def code(x=x, w=w, b=b, s=s, d=d, P=P):
            return operation(tensor(x), tensor(w), tensor(b), stride=s, padding=P, dilation=d)

        values = _values(s, d, P, x=x, w=w, b=b, C=C, R=R, S=S)
        yield Sample(values, (N, O, *_output(s, d, P, R, S)), code)


def conv_corr2d(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _correlation(rng, ops.conv2d)


def conv_corr2d_relu(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _correlation(rng, ops.conv2d_relu)


def conv_true2d(rng: np.random.Generator) -> Iterator[Sample]:
    for R, S in ((2, 3), (4, 2)):
        x, w = rng.standard_normal((H, W)), rng.standard_normal((R, S))

        def code(x=x, w=w):
            rotated = np.ascontiguousarray(w[::-1, ::-1])
            R, S = w.shape
            return ops.conv2d(tensor(x[None, None]), tensor(rotated[None, None]), padding=(R - 1, S - 1)).numpy()[0, 0]

        yield Sample({"x": x, "w": w, "R": R, "S": S}, (H + R - 1, W + S - 1), code)


def conv_size(rng: np.random.Generator) -> Iterator[Sample]:
    for (s, d, P), (R, _) in WINDOWS:
        for size in (6, 7, 11):
            values = _values(s, d, P, H=size, R=R)
            yield Sample(values, (), lambda H=size, R=R, s=s, d=d, P=P: shapes.conv_size(H, R, s, P, d))


def _conv_grad_x(rng: np.random.Generator, windows, sums: str) -> Iterator[Sample]:
    for (s, d, P), (R, S) in windows:
        I, J = _output(s, d, P, R, S)
        y_bar, w = rng.standard_normal((N, O, I, J)), rng.standard_normal((O, C, R, S))

        def code(y_bar=y_bar, w=w, s=s, d=d, P=P):
            x = np.zeros((N, C, H, W))
            return gradient(lambda x, w: ops.conv2d(x, w, stride=s, padding=P, dilation=d), 0, y_bar, x, w)

        limits = {"O": O, "I": I, "J": J, "R": R, "S": S, "d": d}
        values = {r"\bar{y}": y_bar, "w": w, "s": s, "P": P, **{letter: limits[letter] for letter in sums}}
        yield Sample(values, (N, C, H, W), code, extra={"H": H, "W": W})


def conv_grad_x(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _conv_grad_x(rng, UNDILATED, "OIJ")


def conv_grad_x_dilated(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _conv_grad_x(rng, FEW, "OIJRSd")


def conv_grad_w(rng: np.random.Generator) -> Iterator[Sample]:
    for (s, d, P), (R, S) in WINDOWS:
        I, J = _output(s, d, P, R, S)
        y_bar, x = rng.standard_normal((N, O, I, J)), rng.standard_normal((N, C, H, W))

        def code(y_bar=y_bar, x=x, w_shape=(O, C, R, S), s=s, d=d, P=P):
            w = np.zeros(w_shape)
            return gradient(lambda x, w: ops.conv2d(x, w, stride=s, padding=P, dilation=d), 1, y_bar, x, w)

        values = {r"\bar{y}": y_bar, **_values(s, d, P, x=x, N=N, I=I, J=J)}
        yield Sample(values, (O, C, R, S), code, extra={"R": R, "S": S})


def conv_grad_b(rng: np.random.Generator) -> Iterator[Sample]:
    I, J = _output(1, 1, 0, 2, 2)
    y_bar = rng.standard_normal((N, O, I, J))

    def code():
        x, w, b = np.zeros((N, C, H, W)), np.zeros((O, C, 2, 2)), np.zeros(O)
        return gradient(ops.conv2d, 2, y_bar, x, w, b)

    yield Sample({r"\bar{y}": y_bar, "N": N, "I": I, "J": J}, (O,), code)


# --------------------------------------------------------------------------------------------------------------- groups
# 6 channels become 4 (or 2), in 2 groups: 3 a group on one side and 2 (or 1) on the other.

GROUPED = ((2, 6, 4, ((2, 1, 2), (2, 3))), (2, 6, 2, ((1, 3, 2), (3, 2))), (3, 3, 6, ((3, 2, 1), (2, 3))))


def conv_grouped(rng: np.random.Generator) -> Iterator[Sample]:
    for G, C, O, ((s, d, P), (R, S)) in GROUPED:
        x, w, b = rng.standard_normal((N, C, H, W)), rng.standard_normal((O, C // G, R, S)), rng.standard_normal(O)

        def code(x=x, w=w, b=b, G=G, s=s, d=d, P=P):
            return ops.conv2d(tensor(x), tensor(w), tensor(b), stride=s, padding=P, dilation=d, groups=G)

        values = _values(s, d, P, x=x, w=w, b=b, G=G, C=C, O=O, R=R, S=S)
        yield Sample(values, (N, O, *_output(s, d, P, R, S)), code)


def conv_grouped_grad_x(rng: np.random.Generator) -> Iterator[Sample]:
    for G, C, O, ((s, d, P), (R, S)) in GROUPED:
        I, J = _output(s, d, P, R, S)
        y_bar, w = rng.standard_normal((N, O, I, J)), rng.standard_normal((O, C // G, R, S))

        def code(y_bar=y_bar, w=w, C=C, G=G, s=s, d=d, P=P):
            x = np.zeros((N, C, H, W))
            return gradient(lambda x, w: ops.conv2d(x, w, stride=s, padding=P, dilation=d, groups=G), 0, y_bar, x, w)

        values = {r"\bar{y}": y_bar, **_values(s, d, P, w=w, G=G, C=C, O=O, I=I, J=J, R=R, S=S)}
        yield Sample(values, (N, C, H, W), code, extra={"H": H, "W": W})


def conv_grouped_grad_w(rng: np.random.Generator) -> Iterator[Sample]:
    for G, C, O, ((s, d, P), (R, S)) in GROUPED:
        I, J = _output(s, d, P, R, S)
        y_bar, x = rng.standard_normal((N, O, I, J)), rng.standard_normal((N, C, H, W))

        def code(y_bar=y_bar, x=x, w_shape=(O, C // G, R, S), G=G, s=s, d=d, P=P):
            w = np.zeros(w_shape)
            return gradient(lambda x, w: ops.conv2d(x, w, stride=s, padding=P, dilation=d, groups=G), 1, y_bar, x, w)

        values = {r"\bar{y}": y_bar, **_values(s, d, P, x=x, G=G, N=N, C=C, O=O, I=I, J=J)}
        yield Sample(values, (O, C // G, R, S), code, extra={"R": R, "S": S})


# ----------------------------------------------------------------------------------------------------------- transposed
# a is the output padding.

N_T, C_T, O_T, H_T, W_T = 2, 2, 3, 4, 3
TRANSPOSED = (((2, 1, 2), (3, 4), 1), ((3, 2, 1), (2, 3), 2), ((1, 2, 1), (3, 2), 0))
TRANSPOSED_UNDILATED = (((1, 1, 0), (2, 3), 0), ((2, 1, 2), (3, 4), 1))


def _transposed(s, d, P, R, S, a) -> tuple[int, int]:
    return shapes.conv_transpose_size(H_T, R, s, P, a, d), shapes.conv_transpose_size(W_T, S, s, P, a, d)


def _conv_transpose2d(rng: np.random.Generator, windows, sums: str) -> Iterator[Sample]:
    for (s, d, P), (R, S), a in windows:
        x, w = rng.standard_normal((N_T, C_T, H_T, W_T)), rng.standard_normal((C_T, O_T, R, S))
        b = rng.standard_normal(O_T)

        def code(x=x, w=w, b=b, s=s, d=d, P=P, a=a):
            x, w, b = tensor(x), tensor(w), tensor(b)
            return ops.conv_transpose2d(x, w, b, stride=s, padding=P, output_padding=a, dilation=d)

        limits = {"C": C_T, "H": H_T, "W": W_T, "R": R, "S": S, "d": d}
        values = {"x": x, "w": w, "b": b, "s": s, "P": P, **{letter: limits[letter] for letter in sums}}
        yield Sample(values, (N_T, O_T, *_transposed(s, d, P, R, S, a)), code, extra={"a": a})


def conv_transpose2d(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _conv_transpose2d(rng, TRANSPOSED_UNDILATED, "CHW")


def conv_transpose2d_dilated(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _conv_transpose2d(rng, TRANSPOSED, "CHWRSd")


def conv_transpose_size(rng: np.random.Generator) -> Iterator[Sample]:
    for (s, d, P), (R, _), a in (*TRANSPOSED, *TRANSPOSED_UNDILATED):
        for size in (4, 7):

            def code(H=size, R=R, s=s, d=d, P=P, a=a):
                return shapes.conv_transpose_size(H, R, s, P, a, d)

            yield Sample(_values(s, d, P, H=size, R=R, a=a), (), code)


def conv_transpose_grad_x(rng: np.random.Generator) -> Iterator[Sample]:
    for (s, d, P), (R, S), a in TRANSPOSED:
        y_bar = rng.standard_normal((N_T, O_T, *_transposed(s, d, P, R, S, a)))
        w = rng.standard_normal((C_T, O_T, R, S))

        def code(y_bar=y_bar, w=w, s=s, d=d, P=P, a=a):
            def transposed(x, w):
                return ops.conv_transpose2d(x, w, stride=s, padding=P, output_padding=a, dilation=d)

            return gradient(transposed, 0, y_bar, np.zeros((N_T, C_T, H_T, W_T)), w)

        values = {r"\bar{y}": y_bar, **_values(s, d, P, w=w, O=O_T, R=R, S=S)}
        yield Sample(values, (N_T, C_T, H_T, W_T), code, extra={"H": H_T, "W": W_T})


def conv_transpose_grad_w(rng: np.random.Generator) -> Iterator[Sample]:
    for (s, d, P), (R, S), a in TRANSPOSED:
        y_bar = rng.standard_normal((N_T, O_T, *_transposed(s, d, P, R, S, a)))
        x = rng.standard_normal((N_T, C_T, H_T, W_T))

        def code(y_bar=y_bar, x=x, w_shape=(C_T, O_T, R, S), s=s, d=d, P=P, a=a):
            def transposed(x, w):
                return ops.conv_transpose2d(x, w, stride=s, padding=P, output_padding=a, dilation=d)

            return gradient(transposed, 1, y_bar, x, np.zeros(w_shape))

        values = {r"\bar{y}": y_bar, **_values(s, d, P, x=x, N=N_T, H=H_T, W=W_T)}
        yield Sample(values, (C_T, O_T, R, S), code, extra={"R": R, "S": S})


# ----------------------------------------------------------------------------------------------- as columns, as a matrix


def conv_im2col(rng: np.random.Generator) -> Iterator[Sample]:
    for (s, d, P), (R, S) in WINDOWS:
        x = rng.standard_normal((N, C, H, W))
        shape = (N, C, R, S, *_output(s, d, P, R, S))

        def code(x=x, s=s, d=d, P=P, shape=shape):
            kernels = backend.current()
            cols = kernels.im2col(kernels.asarray(x), shape[2:4], (s, s), (P, P), (d, d))
            return kernels.to_numpy(cols).reshape(shape)

        yield Sample(_values(s, d, P, x=x), shape, code, extra={"R": R, "S": S})


def conv_col2im(rng: np.random.Generator) -> Iterator[Sample]:
    for (s, d, P), (R, S) in FEW:
        I, J = _output(s, d, P, R, S)
        A_bar = rng.standard_normal((N, C, R, S, I, J))

        def code(A_bar=A_bar, s=s, d=d, P=P):
            kernels = backend.current()
            N, C, R, S, I, J = A_bar.shape
            cols = kernels.asarray(A_bar.reshape(N, C * R * S, I * J))
            return kernels.to_numpy(kernels.col2im(cols, (N, C, H, W), (R, S), (s, s), (P, P), (d, d)))

        values = {r"\bar{A}": A_bar, **_values(s, d, P, R=R, S=S, I=I, J=J)}
        yield Sample(values, (N, C, H, W), code, extra={"H": H, "W": W})


def conv_toeplitz(rng: np.random.Generator) -> Iterator[Sample]:
    """Each column of the matrix is the convolution of an image that is 1 at one pixel of one channel, else 0."""
    O, C, H, W = 3, 2, 4, 3
    for (s, d, P), (R, S) in FEW:
        w = rng.standard_normal((O, C, R, S))

        def code(w=w, s=s, d=d, P=P):
            impulses = np.eye(C * H * W).reshape(C * H * W, C, H, W)
            y = ops.conv2d(tensor(impulses), tensor(w), stride=s, padding=P, dilation=d).numpy()
            return np.moveaxis(y, 0, -1).reshape(*y.shape[1:], C, H, W)

        I, J = shapes.conv_size(H, R, s, P, d), shapes.conv_size(W, S, s, P, d)
        values = _values(s, d, P, w=w, R=R, S=S)
        yield Sample(values, (O, I, J, C, H, W), code, extra={"H": H, "W": W})


def _conv_winograd(rng: np.random.Generator, m: int) -> Iterator[Sample]:
    A, B, G = winograd.transforms(m)
    x, w = rng.standard_normal((m + 2, m + 2)), rng.standard_normal((3, 3))
    yield Sample(
        {"x": x, "w": w, "A": A, "B": B, "G": G},
        (m, m),
        lambda: ops.conv2d(tensor(x[None, None]), tensor(w[None, None])).numpy()[0, 0],
    )


def conv_winograd_f2(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _conv_winograd(rng, 2)


def conv_winograd_f4(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _conv_winograd(rng, 4)


def conv_receptive_field(rng: np.random.Generator) -> Iterator[Sample]:
    """The code: which pixels of a column have a gradient from one output of layers whose weights are all 1."""
    for k, d, s in (((3,), (2,), (4,)), ((3, 2, 4), (1, 3, 2), (2, 3, 5)), ((1, 5, 2, 3), (2, 1, 4, 1), (3, 2, 1, 2))):
        k, d, s = np.array(k), np.array(d), np.array(s)

        def code(k=k, d=d, s=s):
            def layers(y):
                for size, dilation, stride in zip(k.tolist(), d.tolist(), s.tolist()):
                    w = tensor(np.ones((1, 1, size, 1)))
                    y = ops.conv2d(y, w, stride=(stride, 1), dilation=(dilation, 1))
                return y

            image = np.zeros((1, 1, 150, 1))
            cotangent = np.zeros(layers(tensor(image)).shape)
            cotangent[0, 0, 0] = 1
            seen = np.flatnonzero(gradient(layers, 0, cotangent, image))
            return seen[-1] - seen[0] + 1

        yield Sample({"k": k, "d": d, "s": s, "L": len(k)}, (), code)
