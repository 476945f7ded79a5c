"""What holds between the equations of convolution, pooling and resampling, shown with their literal loops."""

import numpy as np
import pytest

from minseg.equations import REGISTRY
from minseg.equations.literal import conv, pool, up
from minseg.kernels.spec import PRIMITIVES

FAMILIES = ("conv", "pool", "resample", "linear")
WINDOW = {"s": 2, "d": 2, "P": 1}


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.mark.parametrize("name", [name for name, p in PRIMITIVES.items() if p.family in FAMILIES])
def test_each_primitive_has_its_equation(name):
    assert name in REGISTRY[PRIMITIVES[name].equation].primitives


@pytest.mark.parametrize("family", ["conv", "pool", "up", "dense"])
def test_gradients_are_registered_and_name_symbols_of_their_equation(family):
    for equation in REGISTRY.values():
        if equation.family == family:
            for symbol, gradient in equation.gradients.items():
                equation.symbol(symbol)
                assert gradient in REGISTRY


def test_the_convolution_is_its_toeplitz_matrix_and_its_gradient_the_transpose(rng):
    x, w, b = rng.standard_normal((1, 2, 7, 6)), rng.standard_normal((3, 2, 3, 2)), np.zeros(3)
    y = conv.conv_corr2d(x, w, b, **WINDOW)
    T = conv.conv_toeplitz(w, **WINDOW, H=7, W=6).reshape(y.size, x.size)
    np.testing.assert_allclose(T @ x.ravel(), y.ravel(), rtol=1e-12, atol=1e-12)
    y_bar = rng.standard_normal(y.shape)
    g = conv.conv_grad_x_dilated(y_bar, w, **WINDOW, H=7, W=6)
    np.testing.assert_allclose(T.T @ y_bar.ravel(), g.ravel(), rtol=1e-12, atol=1e-12)


def test_most_of_a_toeplitz_matrix_is_zero(rng):
    """3 x 3 kernels from 3 to 2 channels of 5 x 5 pixels: 54 weights fill 1014 places of 50 x 75."""
    T = conv.conv_toeplitz(rng.standard_normal((2, 3, 3, 3)), s=1, d=1, P=1, H=5, W=5)
    assert T.size == 50 * 75
    assert np.count_nonzero(T) == 1014


def test_the_convolution_is_a_product_of_the_kernels_and_the_columns(rng):
    x, w, b = rng.standard_normal((2, 3, 7, 6)), rng.standard_normal((4, 3, 3, 2)), rng.standard_normal(4)
    columns = conv.conv_im2col(x, **WINDOW, R=3, S=2)
    y = np.einsum("ocpq,ncpqij->noij", w, columns) + b[:, None, None]
    np.testing.assert_allclose(y, conv.conv_corr2d(x, w, b, **WINDOW), rtol=1e-12, atol=1e-12)


def test_true_convolution_shows_the_kernel_and_cross_correlation_shows_it_rotated():
    impulse, kernel = np.zeros((3, 3)), np.arange(1.0, 10.0).reshape(3, 3)
    impulse[1, 1] = 1
    y = conv.conv_corr2d(impulse[None, None], kernel[None, None], np.zeros(1), s=1, d=1, P=1)
    assert (conv.conv_true2d(impulse, kernel)[1:4, 1:4] == kernel).all()
    assert (y[0, 0] == kernel[::-1, ::-1]).all()


def test_a_depthwise_convolution_keeps_the_channels_apart(rng):
    x, w, b = rng.standard_normal((1, 3, 5, 4)), rng.standard_normal((3, 1, 2, 3)), rng.standard_normal(3)
    y = conv.conv_grouped(x, w, b, G=3, s=1, d=1, P=1)
    for c in range(3):
        alone = conv.conv_corr2d(x[:, c : c + 1], w[c : c + 1], b[c : c + 1], s=1, d=1, P=1)
        np.testing.assert_allclose(y[:, c : c + 1], alone, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("a", [0, 1, 2])
def test_output_padding_tells_apart_the_sizes_that_the_stride_folds_together(a):
    side = conv.conv_transpose_size(H=4, R=3, s=3, d=2, P=1, a=a)
    assert conv.conv_size(H=side, R=3, s=3, d=2, P=1) == 4


def test_three_small_kernels_see_as_far_as_a_large_one():
    ones = np.ones(3, int)
    assert conv.conv_receptive_field(3 * ones, ones, ones) == 7
    assert conv.conv_receptive_field(np.array([3]), np.array([4]), np.array([1])) == 9


def test_a_border_of_zeros_would_win_over_dark_pixels():
    x = -np.ones((1, 1, 3, 3))
    assert (pool.pool_max2d_padded(x, s=1, P=1, R=3, S=3) == -1).all()


def test_the_first_of_equal_pixels_is_the_maximum():
    t = pool.pool_max2d_place(np.zeros((1, 1, 4, 4)), s=2, P=1, R=2, S=2)
    assert t[0, 0].tolist() == [[3, 2, 2], [1, 0, 0], [1, 0, 0]]  # the first place that is a pixel


def test_means_of_a_constant_stay_constant_only_where_the_padding_does_not_count():
    x, window = np.full((1, 1, 4, 5), 2.0), {"s": 1, "P": 1, "R": 3, "S": 2}
    m = pool.pool_window_count(4, 5, **window)
    assert m.min() == 2
    assert m.max() == 6
    assert (pool.pool_avg2d_inside(x, m, **window) == 2).all()
    assert pool.pool_avg2d_padded(x, **window).min() == pytest.approx(2 * 2 / 6)


def test_one_adaptive_window_is_the_global_mean(rng):
    x = rng.standard_normal((2, 3, 4, 5))
    y = pool.pool_adaptive_avg(x, [0], [4], [0], [5])
    np.testing.assert_allclose(y[:, :, 0, 0], pool.pool_global_avg(x), rtol=1e-14)


def test_unpooling_puts_back_what_its_gradient_reads(rng):
    a = np.array([[[[1, 7], [8, 10]]]])
    x = rng.standard_normal(a.shape)
    y = pool.pool_unpool(x, a, H=3, W=4)
    assert np.count_nonzero(y) == 4
    assert (pool.pool_unpool_grad(y, a) == x).all()


def test_bilinear_weights_sum_to_one_so_constants_stay():
    a, d = up.up_position(4, 7), up.up_position(5, 3)
    np.testing.assert_allclose(up.up_bilinear(np.full((1, 1, 4, 5), 3.0), a, d), 3, rtol=1e-14)


def test_bilinear_resizing_invents_labels_and_nearest_does_not():
    """A mask of the classes 0 and 2 has no class 1."""
    mask = np.array([[[[0.0, 2.0]]]])
    between = up.up_bilinear(mask, up.up_position(1, 1), up.up_position(2, 3))
    assert between.ravel().tolist() == [0, 1, 2]
    assert up.up_nearest(mask, 1, 3).ravel().tolist() == [0, 0, 2]
