"""The Numba convolutions beyond the conformance cases: strips of every kind, memory around the arrays, threads, NaN, vectors."""

import os
import subprocess
import sys
import textwrap

import numba
import numpy as np
import pytest

from minseg.errors import Unsupported
from minseg.kernels import memory, shapes
from minseg.kernels.cpu import conv, conv_depthwise, conv_parts, conv_patches, conv_tile, simd
from minseg.kernels.cpu.jit import kernel
from minseg.testing.conformance import WINOGRAD, conform

PLAIN = (1, 1), (0, 0), (1, 1)
SAME = (1, 1), (1, 1), (1, 1)


def convolution(N, C, O, size, kernel_size, window, groups=1, dtype="float32", seed=0):
    """Arguments of the three primitives of one convolution, by name."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, C, *size)).astype(dtype)
    w = rng.standard_normal((O, C // groups, *kernel_size)).astype(dtype)
    b = rng.standard_normal(O).astype(dtype)
    gy = rng.standard_normal(shapes.conv2d(x, w, b, *window, groups)).astype(dtype)
    return {
        "conv2d": (x, w, b, *window, groups),
        "conv2d_relu": (x, w, b, *window, groups),
        "conv2d_grad_x": (gy, w, x.shape, *window, groups),
        "conv2d_grad_w": (gy, x, w.shape, *window, groups),
    }


DIRECT = ["direct", "im2col", "tile"]
"""The rungs for every shape and dtype."""


def on_rungs(test):
    """The test for every rung of the ladder."""
    return pytest.mark.parametrize("rung", conv.RUNGS)(test)


def covered(rung, arguments):
    """(primitive, kernel, args) of those primitives that the rung computes for these arguments; it refuses the others."""
    for primitive, args in arguments.items():
        call = conv.VARIANTS[primitive].get(rung)
        try:
            if call is not None:
                call(*args)
                yield primitive, call, args
        except Unsupported:
            if rung in DIRECT:
                raise


def strips(arguments):
    x, w, _, *window = arguments["conv2d"]
    return conv_tile.strips_of(x.shape, w.shape, *window)[0]


# What the small cases of the conformance suite do not reach. Each name is a claim about the strips, which the test checks first.
STRIPS = {
    "several strips an image": (convolution(2, 3, 5, (60, 66), (3, 3), SAME), lambda s: s.rows < s.I),
    "several images a strip": (convolution(9, 5, 6, (4, 5), (3, 3), SAME), lambda s: s.images > 1),
    "images do not fill the last strip": (
        convolution(41, 30, 3, (9, 11), (3, 2), SAME),
        lambda s: s.images > 1 and 41 % s.images,
    ),
    "rows do not fill the last strip": (convolution(1, 2, 3, (53, 70), (3, 3), SAME), lambda s: s.I % s.rows),
    "stride, several images": (
        convolution(17, 4, 5, (7, 8), (3, 3), ((2, 2), (1, 1), (1, 1))),
        lambda s: s.images > 1 and s.planes_i == 2,
    ),
    "padding shared by images": (
        convolution(8, 2, 2, (6, 6), (5, 5), ((1, 1), (2, 2), (1, 1))),
        lambda s: s.period == 8,
    ),
    "padding not shared": (
        convolution(8, 2, 2, (6, 6), (3, 3), ((1, 1), (0, 0), (1, 1))),
        lambda s: s.period == 6 and s.images > 1,
    ),
    "vectors begin with rows": (
        convolution(3, 3, 2 * conv_parts.OUTS + 1, (9, 2 * simd.LANES), (3, 3), ((1, 1), (2, 3), (2, 3))),
        lambda s: s.line == s.J < s.pitch and s.images == 3 and s.lines < s.period,
    ),
    "vectors begin with rows, several strips of one image": (
        convolution(2, 2, conv_parts.OUTS, (120, 3 * simd.LANES), (3, 3), SAME),
        lambda s: s.line == s.J < s.pitch and s.rows < s.I,
    ),
    "vectors begin with rows that do not fill them": (
        convolution(3, 3, 4, (9, simd.LANES - 2), (3, 3), ((1, 1), (2, 2), (2, 2))),
        lambda s: s.J < s.line < s.pitch,
    ),
    "vectors run on from row to row": (
        convolution(3, 3, 4, (9, simd.LANES + 1), (3, 3), SAME),
        lambda s: s.line == s.pitch and s.lines == s.period,
    ),
    "in place": (convolution(3, 6, 5, (10, 2 * simd.LANES), (1, 1), PLAIN), lambda s: s.in_place),
    "in place, several strips": (
        convolution(2, 4, 3, (80, 3 * simd.LANES), (1, 1), PLAIN),
        lambda s: s.in_place and s.rows < 80,
    ),
    "1x1, rows that are no whole vectors": (
        convolution(2, 4, 3, (9, simd.LANES + 1), (1, 1), PLAIN),
        lambda s: not s.in_place,
    ),
    "wider than a strip": (convolution(1, 1, 2, (5, 2000), (3, 3), SAME), lambda s: s.rows == 1),
    "many channels": (convolution(2, 200, 70, (9, 9), (3, 3), SAME), lambda s: conv_tile.splits_for(s, 70) > 1),
    "depthwise": (convolution(2, 9, 9, (20, 21), (3, 3), SAME, groups=9), lambda s: s.C == 1),
    "kernel smaller than the stride": (
        convolution(2, 3, 2, (13, 12), (2, 1), ((5, 4), (1, 0), (1, 1))),
        lambda s: s.planes_i == 2 and s.planes_j == 1,
    ),
    "padding beyond the kernel": (convolution(2, 2, 3, (4, 5), (2, 3), ((1, 2), (4, 6), (1, 1))), lambda s: s.I > 4),
}


def patch_convolution(N, C, O, size, side, groups=1, dtype="float32"):
    """A convolution whose windows are patches."""
    return convolution(N, C, O, size, side, (side, (0, 0), (1, 1)), groups, dtype)


L, ROWS, OUTS = simd.LANES, conv_patches.ROWS, conv_parts.OUTS
PATCHES = {
    "pixels, in place, whole vectors": (
        patch_convolution(3, 6, 2 * OUTS, (25, 2 * L), (1, 1)),
        lambda s: s.images == 1 and s.rows * s.J % L == 0 and s.O % OUTS == 0,
    ),
    "pixels, several strips that are no whole vectors": (
        patch_convolution(2, 5, 3, (2 * conv_patches.STRIP_PIXELS // (L + 1) + 2, L + 1), (1, 1)),
        lambda s: s.rows < s.I and s.rows * s.J % L and s.I % s.rows,
    ),
    "pixels, images of one pixel": (patch_convolution(21, 70, 33, (1, 1), (1, 1)), lambda s: s.images > 1),
    "several images a strip, not filling the last": (
        patch_convolution(conv_patches.STRIP_PIXELS // 10 + 1, 3, 5, (9, 10), (2, 2)),
        lambda s: s.images > 1 and s.N % s.images,
    ),
    "whole vectors of windows": (
        patch_convolution(2, 3, OUTS, (6, 4 * L), (2, 2)),
        lambda s: s.rows * s.J % L == 0 and s.O % OUTS == 0,
    ),
    "rows do not fill the last strip": (
        patch_convolution(1, 3, ROWS + 1, (2 * 53, 2 * L + 70), (2, 2)),
        lambda s: s.I % s.rows and s.J % L and s.J > L,
    ),
    "fewer windows a row than a vector has lanes": (
        patch_convolution(1, 2, 3, (14, 2 * L - 2), (2, 2)),
        lambda s: s.J < L and s.images == 1,
    ),
    "pixels that no patch covers": (
        patch_convolution(2, 3, 4, (11, 3 * L + 2), (3, 3)),
        lambda s: s.H > s.R * s.I and s.W > s.S * s.J and s.lines > ROWS,
    ),
    "wide patches": (patch_convolution(2, 2, 3, (5, 40), (1, 4)), lambda s: s.R < s.S),
    "high patches": (patch_convolution(2, 2, 3, (12, L + 5), (4, 1)), lambda s: s.R > s.S),
    "one patch": (patch_convolution(1, 2, 3, (7, 5), (7, 5)), lambda s: s.I == s.J == 1),
    "wider than a strip": (patch_convolution(1, 1, 2, (4, 2000), (2, 2)), lambda s: s.rows == 1),
    "grouped": (patch_convolution(3, 6, 9, (8, 10), (2, 2), groups=3), lambda s: s.groups == 3),
    "depthwise": (patch_convolution(2, 9, 9, (20, 3 * L), (2, 2), groups=9), lambda s: s.C == s.O == 1),
    "many channels": (
        patch_convolution(2, 150, 70, (10, 12), (2, 2)),
        lambda s: conv_patches.splits_for(s, -(-s.O // ROWS)) > 1,
    ),
    "float64": (patch_convolution(2, 5, 6, (10, 2 * L + 6), (2, 2), dtype="float64"), lambda s: s.J > L),
}


@pytest.mark.parametrize("name", PATCHES)
def test_patches_of_every_kind(name):
    arguments, claim = PATCHES[name]
    x, w, _, *window = arguments["conv2d"]
    assert claim(conv_patches.patches_of(x.shape, w.shape, *window))
    for primitive, args in arguments.items():
        if primitive == "conv2d_relu":  # of the tile rung, which has it in one pass
            assert conv.rung_of(primitive, *args) == "tile"
            continue
        conform(primitive, conv.VARIANTS[primitive]["patches"], args)
        assert conv.rung_of(primitive, *args) == "patches"


def depthwise(N, C, size, kernel_size, padding, dilation, dtype="float32"):
    return convolution(N, C, C, size, kernel_size, ((1, 1), padding, dilation), C, dtype)


DEPTHWISE = {
    "whole vectors": depthwise(2, 3, (9, 2 * L), (3, 3), (1, 1), (1, 1)),
    "a lane more": depthwise(2, 3, (9, L + 1), (3, 3), (1, 1), (1, 1)),
    "a lane less": depthwise(2, 3, (5, L - 1), (3, 3), (1, 1), (1, 1)),
    "outputs a lane more than whole vectors": depthwise(1, 2, (5, 2 * L + 3), (3, 3), (0, 0), (1, 1)),
    "many images of one pixel": depthwise(37, 5, (1, 1), (3, 3), (1, 1), (1, 1)),
    "one channel": depthwise(2, 1, (8, 20), (3, 3), (1, 1), (1, 1)),
    "a kernel of one pixel": depthwise(2, 3, (4, L + 2), (1, 1), (0, 0), (1, 1)),
    "dilation, and padding below it": depthwise(2, 3, (13, L + 6), (3, 2), (2, 1), (3, 5)),
    "dilation beyond the image": depthwise(2, 3, (5, 6), (3, 3), (8, 9), (8, 9)),
    "padding beyond the kernel": depthwise(2, 3, (5, 6), (2, 3), (4, 7), (1, 2)),
    "a long kernel": depthwise(1, 2, (7, 3 * L), (2, L + 3), (0, 5), (1, 1)),
    "several strips, the last shorter": depthwise(
        1, 2, (2 * conv_depthwise.COPY_FLOATS // L + 1, 3), (3, 2), (1, 1), (2, 1)
    ),
    "float64": depthwise(3, 4, (7, L + 5), (3, 3), (1, 2), (1, 2), "float64"),
}


@pytest.mark.parametrize("name", DEPTHWISE)
def test_depthwise_of_every_kind(name):
    for primitive, args in DEPTHWISE[name].items():
        conform(primitive, conv.VARIANTS[primitive]["depthwise"], args)
        assert conv.rung_of(primitive, *args) == "depthwise"


def test_depthwise_transposed():
    arguments = depthwise(2, 3, (9, L + 1), (3, 2), (1, 0), (1, 3))
    x, w, b = arguments["conv2d"][:3]
    args = x, w, b, (1, 1), (1, 0), (0, 0), (1, 3), 3
    conform("conv_transpose2d", conv.VARIANTS["conv_transpose2d"]["depthwise"], args)
    assert conv.rung_of("conv_transpose2d", *args) == "depthwise"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("C", "O", "stride"), [(6, 3, (1, 1)), (3, 6, (1, 1)), (3, 3, (2, 1)), (3, 3, (1, 2))])
def test_more_channels_a_group_and_strides_take_another_rung(C, O, stride, dtype):
    for primitive, args in convolution(2, C, O, (7, 8), (3, 3), (stride, (1, 1), (1, 1)), 3, dtype).items():
        assert conv.rung_of(primitive, *args) == "tile"
        with pytest.raises(Unsupported, match="one channel a group and stride 1"):
            conv.VARIANTS[primitive]["depthwise"](*args)


@pytest.mark.parametrize("padding", [(0, 0), (1, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_windows_that_are_no_patches_take_another_rung(dtype, padding):
    """A stride of another size than the kernel, or padding."""
    kernel_size = (2, 2) if padding == (1, 1) else (2, 3)
    arguments = convolution(2, 9, 16, (8, 9), kernel_size, ((2, 2), padding, (1, 1)), dtype=dtype)
    for primitive, args in arguments.items():
        assert conv.rung_of(primitive, *args) == "tile"
        if primitive != "conv2d_relu":
            with pytest.raises(Unsupported, match="as large as the stride"):
                conv.VARIANTS[primitive]["patches"](*args)


@on_rungs
@pytest.mark.parametrize("name", STRIPS)
def test_strips_of_every_kind(name, rung):
    arguments, claim = STRIPS[name]
    assert claim(strips(arguments))
    for primitive, call, args in covered(rung, arguments):
        conform(primitive, call, args, rung)


SHAPES = {name: arguments for name, (arguments, _) in STRIPS.items()}
SHAPES |= {f"patches, {name}": arguments for name, (arguments, _) in PATCHES.items()}
SHAPES |= {f"depthwise, {name}": arguments for name, arguments in DEPTHWISE.items()}


@on_rungs
def test_random_shapes(rung):
    rng = np.random.default_rng(7)
    done = 0
    while done < 40:
        groups, N = rng.integers(1, 4), rng.integers(1, 6)
        C, O = groups * rng.integers(1, 6), groups * rng.integers(1, 12)
        size, kernel_size = tuple(rng.integers(1, 40, 2)), tuple(rng.integers(1, 6, 2))
        window = tuple(tuple(map(int, rng.integers(low, 4, 2))) for low in (1, 0, 1))
        if min(map(shapes.conv_size, size, kernel_size, *window)) < 1:
            continue
        arguments = convolution(N, C, O, size, kernel_size, window, int(groups), seed=done)
        for primitive, call, args in covered(rung, arguments):
            conform(primitive, call, args, rung)
        done += 1


@on_rungs
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(5, 12, 20, (40, 41)), (1, 12, 70, (9, 10)), (5, 12, 12, (40, 41), 12)])
def test_same_bits_on_one_thread_and_on_all(rung, dtype, shape):
    """Many pixels, few, and depthwise. Also where the output channels are shared out, to as many jobs as there are threads."""
    arguments = convolution(*shape[:4], (3, 3), SAME, *shape[4:], dtype=dtype)
    threads = numba.get_num_threads()
    for _, call, args in covered(rung, arguments):
        on_all = call(*args)
        try:
            numba.set_num_threads(1)
            alone = call(*args)
        finally:
            numba.set_num_threads(threads)
        assert on_all.tobytes() == alone.tobytes()


# --------------------------------------------------------------------------------------------------- memory around arrays


class Fence:
    """Arrays with a strip of NaN before and after them."""

    WIDTH = 4096

    def __init__(self):
        self.buffers = []

    def empty(self, shape, dtype):
        size = int(np.prod(shape))
        buffer = np.full(size + 2 * self.WIDTH, np.nan, dtype)
        self.buffers.append(buffer)
        return buffer[self.WIDTH : self.WIDTH + size].reshape(shape)

    def around(self, value):
        if not isinstance(value, np.ndarray):
            return value
        inside = self.empty(value.shape, value.dtype)
        inside[:] = value
        return inside

    def assert_untouched(self):
        for buffer in self.buffers:
            assert np.isnan(buffer[: self.WIDTH]).all()
            assert np.isnan(buffer[-self.WIDTH :]).all()


@on_rungs
@pytest.mark.parametrize("name", SHAPES)
def test_nothing_outside_the_arrays_is_used_or_written(name, rung, monkeypatch):
    fence = Fence()
    for _, call, args in covered(rung, SHAPES[name]):
        expected = call(*args)
        with monkeypatch.context() as patched:
            patched.setattr(memory, "empty", fence.empty)
            result = call(*map(fence.around, args))
        assert result.tobytes() == expected.tobytes()
    fence.assert_untouched()


GUARD_PAGES = """
import ctypes, mmap, sys
import numpy as np
sys.path[:0] = {path!r}
from test_cpu_conv import SHAPES, conv, covered

mprotect = ctypes.CDLL(None, use_errno=True).mprotect
keep = []

def before_a_forbidden_page(value):
    if not isinstance(value, np.ndarray):
        return value
    pages = -(-value.nbytes // mmap.PAGESIZE) + 1
    memory = mmap.mmap(-1, pages * mmap.PAGESIZE)
    keep.append(memory)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    end = start + (pages - 1) * mmap.PAGESIZE
    assert mprotect(ctypes.c_void_p(end), mmap.PAGESIZE, 0) == 0
    at = (pages - 1) * mmap.PAGESIZE - value.nbytes
    inside = np.frombuffer(memory, value.dtype, value.size, at).reshape(value.shape)
    inside[:] = value
    return inside

for arguments in SHAPES.values():
    for rung in conv.RUNGS:
        for primitive, call, args in covered(rung, arguments):
            guarded = list(map(before_a_forbidden_page, args))
            assert call(*args).tobytes() == call(*guarded).tobytes(), (rung, primitive)
print("survived")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="protects pages with Linux's mprotect")
def test_inputs_may_end_where_memory_ends():
    """A load beyond an input would be a segmentation fault, so this runs in a process of its own."""
    code = GUARD_PAGES.format(path=[os.path.dirname(__file__), os.getcwd()])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "survived", done.stderr[-2000:] or f"exit status {done.returncode}"


# ------------------------------------------------------------------------------------------------------ NaN and infinity


def leave_nan_in_freed_memory() -> None:
    """What the next arrays of a kernel are likely to begin with."""
    blocks = [np.full(n, np.nan, np.float32) for n in (*range(64, 40_000, 512), 50_000, 80_000, 120_000, 200_000)]
    del blocks


@pytest.mark.parametrize("rung", conv.VARIANTS["conv2d_grad_w"])
@pytest.mark.parametrize(("size", "padding"), [(3, 1), (5, 2), (7, 3)])
def test_the_gradient_of_kernels_reads_nothing_that_was_not_written(rung, size, padding):
    """Where strips end between vectors: a zero of gy meets whatever lies there, and 0 NaN is NaN."""
    rng = np.random.default_rng(0)
    for W in (7, 9, 11, 13, 21, 25, 29):
        for H in (7, 13, 40):
            x, gy = rng.standard_normal((2, 2, 3, H, W)).astype(np.float32)
            leave_nan_in_freed_memory()
            window = (1, 1), (padding, padding), (1, 1), 1
            try:
                gw = conv.VARIANTS["conv2d_grad_w"][rung](gy, x, (3, 3, size, size), *window)
            except Unsupported:
                continue
            assert np.isfinite(gw).all(), (H, W)


@pytest.mark.parametrize("rung", [*DIRECT, "depthwise", "patches"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_bad_pixel_spoils_its_windows_and_no_other(rung, value):
    arguments = convolution(3, 2, 3, (6, 7), (3, 2), ((2, 1), (1, 1), (1, 2)))
    if rung == "patches":
        arguments = patch_convolution(3, 2, 3, (6, 8), (2, 2))
    if rung == "depthwise":
        arguments = depthwise(3, 2, (6, 7), (3, 2), (1, 1), (1, 2))
    for primitive in ("conv2d", "conv2d_grad_x"):
        array, w, *rest = arguments[primitive]
        call = conv.VARIANTS[primitive][rung]
        spot = np.zeros_like(array)
        spot[1, 1, 2, 3] = 1
        if primitive == "conv2d":
            rest[0] = np.zeros_like(rest[0])
        meets = call(spot, np.ones_like(w), *rest) != 0
        bad = array.copy()
        bad[1, 1, 2, 3] = value
        np.testing.assert_array_equal(~np.isfinite(call(bad, w, *rest)), meets)


@pytest.mark.parametrize("rung", WINOGRAD)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_bad_pixel_spoils_no_more_than_the_tiles_of_its_windows(rung, value):
    """Winograd's price: all outputs of a tile are sums of the same products."""
    m = WINOGRAD[rung]
    arguments = convolution(2, 2, 3, (11, 14), (3, 3), SAME)
    for primitive in ("conv2d", "conv2d_grad_x"):
        array, w, *rest = arguments[primitive]
        if primitive == "conv2d":
            rest[0] = np.zeros_like(rest[0])
        bad = array.copy()
        bad[1, 1, 4, 6] = value
        spoiled = ~np.isfinite(conv.VARIANTS[primitive][rung](bad, w, *rest))
        assert spoiled[1, :, 3:6, 5:8].all()
        low, high = (3 // m * m, 5 // m * m), (5 // m * m + m, 7 // m * m + m)
        spoiled[1, :, low[0] : high[0], low[1] : high[1]] = False
        assert not spoiled.any()


@on_rungs
def test_a_bad_pixel_spoils_the_gradient_of_its_kernels(rung):
    arguments = (
        patch_convolution(2, 3, 4, (6, L), (1, 1)) if rung == "patches" else convolution(2, 3, 4, (6, 7), (3, 3), SAME)
    )
    if rung == "depthwise":
        arguments = depthwise(2, 3, (6, 7), (3, 3), (1, 1), (1, 1))
    gy, x, *rest = arguments["conv2d_grad_w"]
    x[1, 2, 3, 3] = np.nan
    gw = conv.VARIANTS["conv2d_grad_w"][rung](gy, x, *rest)
    gw = gw.swapaxes(0, 1) if rung == "depthwise" else gw  # each channel of x has one of kernels
    assert np.isnan(gw[:, 2]).all()
    assert np.isfinite(gw[:, :2]).all()


@pytest.mark.parametrize("width", [L - 1, L, L + 3])
def test_a_bad_pixel_does_not_spoil_positions_of_a_depthwise_kernel_that_never_meet_it(width):
    gy, x, *rest = depthwise(2, 3, (6, width), (3, 3), (1, 1), (1, 1))["conv2d_grad_w"]
    x[1, 2, 3, -1] = np.nan
    expected = np.zeros(rest[0], bool)
    expected[2, :, :, 1:] = True  # no window's first column stands on the image's last
    np.testing.assert_array_equal(np.isnan(conv.VARIANTS["conv2d_grad_w"]["depthwise"](gy, x, *rest)), expected)


# ---------------------------------------------------------------------------------------------------------------- vectors


@kernel
def _arithmetic(a, b, out):
    x, y = simd.load(a, 1), simd.load(b, 2)
    simd.store(out, 0, x + y)
    simd.store(out, simd.LANES, x - y)
    simd.store(out, 2 * simd.LANES, x * y)
    simd.store(out, 3 * simd.LANES, simd.splat(a, 3))
    simd.store(out, 4 * simd.LANES, simd.splat_at(b, 5))
    simd.poke(simd.pointer(out), 5 * simd.LANES, simd.peek(simd.pointer(a), 4))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_vectors(dtype):
    L = simd.LANES
    a, b = (np.random.default_rng(s).integers(-50, 50, L + 8).astype(dtype) for s in (0, 1))
    out = np.full(6 * L, np.nan, dtype)
    _arithmetic(a, b, out)
    x, y = a[1 : L + 1], b[2 : L + 2]
    expected = [x + y, x - y, x * y, np.full(L, 3), np.full(L, b[5])]
    np.testing.assert_array_equal(out[: 5 * L].reshape(5, L), expected)
    assert out[5 * L] == a[4]
    assert np.isnan(out[5 * L + 1 :]).all()


@kernel
def _masked(a, bits, out):
    simd.store_masked(out, 1, simd.load_masked(a, -2, bits[0]), bits[1])
    simd.store_each(out, simd.LANES + 2, simd.LANES, simd.masked((simd.load(a, 0), simd.load(a, 1)), bits[0]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_masked_lanes_are_neither_read_nor_written(dtype):
    L = simd.LANES
    a, out = np.arange(1, L + 2).astype(dtype), np.full(3 * L + 2, np.nan, dtype)
    lanes = np.arange(L)
    read, written = lanes % 3 == 2, lanes < L - 1
    _masked(a, np.array([(mask << lanes).sum() for mask in (read, written)]), out)
    np.testing.assert_array_equal(out[1:L], np.where(read, lanes - 1, 0)[: L - 1])
    assert np.isnan(out[[0, L, L + 1]]).all()
    np.testing.assert_array_equal(out[L + 2 :].reshape(2, L), np.where(read, np.stack([a[:L], a[1:]]), 0))


HALF, SOME = (0,) * (simd.LANES // 2), (0,) * (simd.LANES + 3)
OUTER = HALF * 3


@kernel
def _sums(a, offset, out):
    L = simd.LANES
    simd.add_lane_sums(out, 0, simd.load_each(a, 0, L, SOME))
    even, odd = simd.unzip(simd.load(a, 0), simd.load(a, L))
    simd.store_each(out, 2 * L, L, (even, odd))
    simd.store_each(out, 4 * L, L, simd.interleave(even, odd))
    rows, factors = simd.load_at(a, 1, offset, 2, THREE), simd.load_each(a, 5, 2 * L, HALF)
    simd.store_each(out, 6 * L, L, simd.add_outer(simd.load_each(a, 7, 3, OUTER), factors, rows))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_of_lanes_pairs_of_vectors_and_outer_products(dtype):
    L = simd.LANES
    a = np.random.default_rng(4).integers(-50, 50, L * (L + 4)).astype(dtype)
    offset, out = np.array([3, 1, 9, 4, 0]), np.ones((6 + 3 * L // 2 + 1, L), dtype)
    _sums(a, offset, out.reshape(-1))
    np.testing.assert_array_equal(out[:2].ravel()[: L + 3], 1 + a[: L * (L + 3)].reshape(L + 3, L).sum(axis=1))
    np.testing.assert_array_equal(out[:2].ravel()[L + 3 :], 1)
    np.testing.assert_array_equal(out[2:4], a[: 2 * L].reshape(L, 2).T)
    np.testing.assert_array_equal(out[4:6].ravel(), a[: 2 * L])
    for m in range(L // 2):
        for v, shift in enumerate(offset[2:]):
            expected = a[7 + 3 * (3 * m + v) :][:L] + a[5 + 2 * L * m :][:L] * a[1 + shift :][:L]
            np.testing.assert_array_equal(out[6 + 3 * m + v], expected)
    np.testing.assert_array_equal(out[-1], 1)


SQUARE, SIX, THREE = (0,) * simd.LANES, (0,) * 6, (0,) * 3


@kernel
def _many(a, out):
    L = simd.LANES
    simd.store_each(out, 0, L, simd.turned(simd.load_each(a, 0, L + 1, SQUARE)))
    simd.store_each(out, L * L, L, simd.load_rows(a, -2 * L, L, SIX, 2, 5, np.zeros(L, a.dtype)))
    sums, x = simd.load_grid(a, 3, 5 * L, SIX, THREE), simd.load_each(a, 1, L, THREE)
    simd.store_grid(out, (L + 6) * L, 4 * L, simd.multiply_add(sums, a, 7, 9, x), THREE)
    floors = simd.at_least(simd.load_each(a, 0, L, HALF), simd.splat(a, 2))
    simd.store_each(out, (L + 6 + 8) * L, L, (simd.at_least(simd.load(a, 0), simd.splat(a, 2)), floors[1]))
    simd.store(out, (L + 6 + 10) * L, simd.splat_each(a, 5, SIX)[5])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_several_vectors(dtype):
    L = simd.LANES
    a = np.random.default_rng(2).integers(-50, 50, L * (L + 9)).astype(dtype)
    a[1] = np.nan
    out = np.full((L + 17, L), np.nan, dtype)
    _many(a, out.reshape(-1))
    square, rows, grid, last = out[:L], out[L : L + 6], out[L + 6 : L + 14].reshape(2, 4 * L), out[L + 14 :]
    np.testing.assert_array_equal(square.T, a[: L * (L + 1)].reshape(L, L + 1)[:, :L])
    np.testing.assert_array_equal(rows[2:5].ravel(), a[: 3 * L])
    np.testing.assert_array_equal(rows[[0, 1, 5]], np.zeros((3, L)))
    for m in range(2):
        expected = a[3 + 5 * L * m :][: 3 * L] + a[7 + 9 * m] * a[1 : 1 + 3 * L]
        np.testing.assert_array_equal(grid[m, : 3 * L], expected)
    assert np.isnan(grid[:, 3 * L :]).all()
    np.testing.assert_array_equal(last[:2].ravel(), np.where(a[: 2 * L] < 2, 2, a[: 2 * L]))
    np.testing.assert_array_equal(last[2], np.full(L, 5))


@pytest.mark.slow
@pytest.mark.skipif(simd.LANES == 8, reason="this machine has only the short vectors: all tests above use them")
def test_short_vectors():
    """The tiles for machines without AVX-512, compiled here for a processor without it."""
    code = textwrap.dedent(f"""
        import sys
        sys.path[:0] = {[os.path.dirname(__file__), os.getcwd()]!r}
        from test_cpu_conv import SHAPES, conform, conv, covered, simd
        assert simd.LANES == 8
        for arguments in SHAPES.values():
            for rung in conv.RUNGS:
                for primitive, call, args in covered(rung, arguments):
                    conform(primitive, call, args, rung)
        print("conforms")
    """)
    environment = {**os.environ, "NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2,+avx,+avx2,+fma"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=600)
    assert done.stdout.strip() == "conforms", done.stderr[-2000:]


# ------------------------------------------------------------------------------------------------------------------- peer


@pytest.mark.peer
@pytest.mark.parametrize("rung", DIRECT)
def test_transposed_like_torch(rung):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    x, w, b = (rng.standard_normal(s) for s in ((2, 6, 5, 4), (6, 4, 3, 4), (8,)))
    options = {"stride": (3, 2), "padding": (1, 2), "output_padding": (2, 1), "dilation": (2, 1), "groups": 2}
    torch_result, size = (
        torch.nn.functional.conv_transpose2d(*map(torch.from_numpy, arrays), **options).numpy()
        for arrays in ((x, w, b), map(np.abs, (x, w, b)))
    )
    arguments = (options[name] for name in ("stride", "padding", "output_padding", "dilation", "groups"))
    result = conv.VARIANTS["conv_transpose2d"][rung](x, w, b, *arguments)
    terms = 3 * 3 * 4 + 1  # input channels of a group, kernel positions, bias; torch's roundings count like ours
    assert (np.abs(result - torch_result) <= 2 * 4 * terms**0.5 * 2**-53 * size).all()
