// Convolution. x (N, C, H, W), w (O, C/groups, R, S), y (N, O, I, J); the gradients gy, gx, gw have the shapes of y, x, w.
//
// The ladder:
//
//   naive    One thread an output: it walks over its window and adds up. Every pixel is read from memory (or, with luck, from a
//            cache) by each of the R S O/groups outputs that need it.
//   im2col   im2col writes every window out as a column, and the convolution becomes a matrix product, which the vendor's library
//            does best. Gained: the product runs at the card's full rate. Paid: the columns are R S times as large as x, and are
//            written to memory and read back. The gradient for x is the product with w transposed, and col2im, which adds each
//            pixel's columns up: one thread a pixel, which gathers, so nobody adds to the same place at the same time.
//   tiled    The same product without the columns in memory: a block loads the windows of its own 128 outputs straight into shared
//            memory, 16 kernel positions at a time (product.cuh). Gained: x and w are read about once per tile, nothing is written
//            but y. Three tile heights, for 16, 32 and 64 output channels: a tile higher than there are channels adds up zeros.
//   direct   For 3x3 kernels with stride 1, straight from a tile of the image in shared memory (direct.cuh). Gained: a pixel is loaded
//            once for all nine kernel positions, where the product loads it nine times and works out each time where it lies.
//            The gradient for x is the same convolution with turned kernels.
//
// All of them divide (n, o, i, j) out of flat indices: threads next to each other compute pixels next to each other, so a warp's
// reads and writes lie side by side. The gradient for w sums over all pixels of all images, but has few outputs: the last two rungs
// give each of many blocks a part of the sum, and sum_parts adds the parts in order. So the bits are the same each time, which
// they would not be with atomicAdd.
#include "direct.cuh"
#include "product.cuh"

// CuPy hands kernels numbers, not structs, so a window's numbers are a list of parameters, gathered at once.
struct Window {
    int H, W, I, J, R, S, stride_i, stride_j, padding_i, padding_j, dilation_i, dilation_j;
};
#define WINDOW_PARAMETERS                                                                                                  \
    int H, int W, int I, int J, int R, int S, int stride_i, int stride_j, int padding_i, int padding_j, int dilation_i, \
        int dilation_j
#define WINDOW \
    Window { H, W, I, J, R, S, stride_i, stride_j, padding_i, padding_j, dilation_i, dilation_j }

// x at window (i, j)'s kernel position (p, q), in the plane that begins at `plane`; 0 outside.
__device__ inline real pixel_of_window(const real* plane, const Window& w, int i, int j, int p, int q) {
    int u = w.stride_i * i + w.dilation_i * p - w.padding_i, v = w.stride_j * j + w.dilation_j * q - w.padding_j;
    return u >= 0 && u < w.H && v >= 0 && v < w.W ? plane[(index)u * w.W + v] : real(0);
}

// The window whose kernel position p lies on pixel u: stride i + dilation p - padding = u. False where there is none.
__device__ inline bool window_on(int u, int p, int stride, int padding, int dilation, int windows, int& i) {
    int reached = u + padding - dilation * p;
    i = stride == 1 ? reached : reached / stride;
    return reached >= 0 && i * stride == reached && i < windows;
}

// The value for pixel (u, v), of the window whose kernel position (p, q) lies on it, in the plane that begins at `plane`; 0 if none.
__device__ inline real window_on_pixel(const real* plane, const Window& w, int u, int v, int p, int q) {
    int i, j;
    bool met = window_on(u, p, w.stride_i, w.padding_i, w.dilation_i, w.I, i) &&
               window_on(v, q, w.stride_j, w.padding_j, w.dilation_j, w.J, j);
    return met ? plane[(index)i * w.J + j] : real(0);
}

// ------------------------------------------------------------------------------------------------------------------ im2col

// A thread has one entry of the columns in several planes n C + c, or one pixel (common.cuh).
// eq: conv.im2col
extern "C" __global__ void im2col(const real* x, real* cols, index all_planes, WINDOW_PARAMETERS) {
    Planes planes(all_planes);
    Walk walk = over_plane();
    index entries = (index)R * S * I * J, pixels = (index)H * W;
    for (index k = walk.first; k < entries; k += walk.step) {
        index p = k;
        int j = take(p, J), i = take(p, I), q = take(p, S);
        int u = stride_i * i + dilation_i * (int)p - padding_i, v = stride_j * j + dilation_j * q - padding_j;
        InPlanes<real> value = {};
        if (u >= 0 && u < H && v >= 0 && v < W) value.load(planes, x + (index)u * W + v, pixels);
        value.store(cols, planes, entries, k);
    }
}

// eq: conv.col2im
extern "C" __global__ void col2im(const real* cols, real* x, index all_planes, WINDOW_PARAMETERS) {
    Planes planes(all_planes);
    Walk walk = over_plane();
    index windows = (index)I * J, pixels = (index)H * W;
    for (index k = walk.first; k < pixels; k += walk.step) {
        Place here = place_of(k, H, W);
        InPlanes<real> sum = {};
        int i, j;
        for (int p = 0; p < R; ++p) {
            if (!window_on(here.row, p, stride_i, padding_i, dilation_i, I, i)) continue;
            for (int q = 0; q < S; ++q) {
                if (!window_on(here.column, q, stride_j, padding_j, dilation_j, J, j)) continue;
                sum.add(planes, 1, cols + (index)(p * S + q) * windows + (index)i * J + j, R * S * windows);
            }
        }
        sum.store(x, planes, pixels, k);
    }
}

// y[n, o, pixel] += b[o]
extern "C" __global__ void add_bias(const real* b, real* y, index total, int O, int pixels) {
    for (index k = thread_number(); k < total; k += thread_count()) {
        index rest = quotient(k, pixels);
        y[k] += b[take(rest, O)];
    }
}

// ------------------------------------------------------------------------------------------------------------------- naive

// eq: conv.corr2d
extern "C" __global__ void conv2d_naive(const real* x, const real* w, const real* b, bool has_bias, real* y, index total, int C,
                                        int O, int groups, WINDOW_PARAMETERS) {
    int channels = C / groups;
    for (index k = thread_number(); k < total; k += thread_count()) {
        index n = k;
        int j = take(n, J), i = take(n, I), o = take(n, O);
        int first = o / (O / groups) * channels;
        real sum = has_bias ? b[o] : real(0);
        for (int c = 0; c < channels; ++c)
            for (int p = 0; p < R; ++p)
                for (int q = 0; q < S; ++q)
                    sum += w[(((index)o * channels + c) * R + p) * S + q] *
                           pixel_of_window(x + (n * C + first + c) * H * W, WINDOW, i, j, p, q);
        y[k] = sum;
    }
}

// eq: conv.grad_x, conv.transpose2d. Channels of gy: O, of gx: C; the bias is the transposed convolution's.
extern "C" __global__ void conv2d_grad_x_naive(const real* gy, const real* w, const real* b, bool has_bias, real* gx, index total,
                                               int C, int O, int groups, WINDOW_PARAMETERS) {
    int channels = C / groups, outputs = O / groups;
    for (index k = thread_number(); k < total; k += thread_count()) {
        index n = k;
        int v = take(n, W), u = take(n, H), c = take(n, C);
        int first = c / channels * outputs;
        real sum = has_bias ? b[c] : real(0);
        for (int o = first; o < first + outputs; ++o)
            for (int p = 0; p < R; ++p)
                for (int q = 0; q < S; ++q)
                    sum += w[(((index)o * channels + c % channels) * R + p) * S + q] *
                           window_on_pixel(gy + (n * O + o) * I * J, WINDOW, u, v, p, q);
        gx[k] = sum;
    }
}

// eq: conv.grad_w
extern "C" __global__ void conv2d_grad_w_naive(const real* gy, const real* x, real* gw, index total, int N, int C, int O,
                                               int groups, WINDOW_PARAMETERS) {
    int channels = C / groups;
    for (index k = thread_number(); k < total; k += thread_count()) {
        index o = k;
        int q = take(o, S), p = take(o, R), c = take(o, channels);
        int first = (int)o / (O / groups) * channels;
        real sum = 0;
        for (index n = 0; n < N; ++n)
            for (int i = 0; i < I; ++i)
                for (int j = 0; j < J; ++j)
                    sum += gy[((n * O + o) * I + i) * J + j] *
                           pixel_of_window(x + (n * C + first + c) * H * W, WINDOW, i, j, p, q);
        gw[k] = sum;
    }
}

// The first launch of a sum over each channel (common.cuh).  eq: conv.grad_b
extern "C" __global__ void conv2d_grad_b(const real* gy, double* parts, index pixels) {
    __shared__ double scratch[WARP];
    real sum = 0;
    visit(over_plane(), pixels, [&](real g) { sum += g; }, gy + blockIdx.x * pixels);
    double part = block_sum((double)sum, scratch);
    if (threadIdx.x == 0) parts[part_number()] = part;
}

// The second.
extern "C" __global__ void add_parts(const double* parts, real* total, index count, int sums) {
    add_up(parts, total, count, sums);
}

// ------------------------------------------------------------------------------------------------------------------- tiled
// What the product multiplies. blockIdx.x is the tile of columns, .y the tile of rows, .z the group (and the part of the sum).

// A flat index k of (highs, middles, lows) with its three coordinates, which moves on by LOADERS. The coordinates follow by additions
// and carries, as in a car's odometer; to divide them out of k takes some forty instructions each time.
struct Odometer {
    index high, add_high;
    int middle, low, middles, lows, add_middle, add_low;
    __device__ void set(index k, int middle_size, int low_size) {
        middles = middle_size, lows = low_size;
        low = take(k, lows), middle = take(k, middles), high = k;
        index step = LOADERS;
        add_low = take(step, lows), add_middle = take(step, middles), add_high = step;
    }
    __device__ void advance() {
        low += add_low;
        int carry = low >= lows;
        low -= carry ? lows : 0;
        middle += add_middle + carry;
        carry = middle >= middles;
        middle -= carry ? middles : 0;
        high += add_high + carry;
    }
};

// a(o, (c, p, q)) = w, whose rows lie one behind the other.
struct Kernels {
    const real* w;
    index length;
    __device__ real operator()(index o, index k) const { return w[o * length + k]; }
};

// b((c, p, q), (n, i, j)): the pixel of window (n, i, j) at kernel position (c, p, q).
struct Windows {
    const real* x;
    int C, first;  // channels, and the group's first
    Window w;
    const real* image;
    int i, j;
    Odometer c_p_q;
    __device__ void at(index column, index k) {
        j = take(column, w.J), i = take(column, w.I);
        image = x + (column * C + first) * w.H * w.W;
        c_p_q.set(k, w.R, w.S);
    }
    __device__ real next() {
        real pixel = pixel_of_window(image + c_p_q.high * w.H * w.W, w, i, j, c_p_q.middle, c_p_q.low);
        c_p_q.advance();
        return pixel;
    }
};

// y[n, o, i, j], for the column (n, i, j), is the sum + b[o].
struct Maps {
    real* y;
    const real* b;
    bool has_bias;
    int channels, first;
    index pixels;
    __device__ real* place(index o, index column) const {
        index n = quotient(column, pixels), pixel = column - n * pixels;
        return y + (n * channels + first + o) * pixels + pixel;
    }
    __device__ real shift(index o, index) const { return has_bias ? b[first + o] : real(0); }
};

// eq: conv.corr2d
template <int ROWS>
__device__ void conv2d_tiled(const real* x, const real* w, const real* b, bool has_bias, real* y, index columns, int C, int O,
                             int groups, const Window& window, real (*a_tile)[ROWS + PACK], real (*b_tile)[COLUMNS]) {
    int group = blockIdx.z, outputs = O / groups, channels = C / groups;
    index length = (index)channels * window.R * window.S;
    Kernels a{w + group * outputs * length, length};
    Windows windows{x, C, group * channels, window};
    Maps out{y, b, has_bias, O, group * outputs, (index)window.I * window.J};
    product<ROWS>((index)ROWS * blockIdx.y, outputs, (index)COLUMNS * blockIdx.x, columns, 0, length, a, windows, out, a_tile,
                  b_tile);
}

#define CONV2D_TILED(ROWS)                                                                                                      \
    extern "C" __global__ void conv2d_tiled_##ROWS(const real* x, const real* w, const real* b, bool has_bias, real* y,         \
                                                   index columns, int C, int O, int groups, WINDOW_PARAMETERS) {               \
        PRODUCT_TILES(ROWS)                                                                                                     \
        conv2d_tiled<ROWS>(x, w, b, has_bias, y, columns, C, O, groups, WINDOW, a_tile, b_tile);                                \
    }
CONV2D_TILED(16)
CONV2D_TILED(32)
CONV2D_TILED(64)

// a(c, (o, p, q)) = w[o, c, p, q]: the kernels, turned so that rows are input channels.
struct TurnedKernels {
    const real* w;
    index channels, places;
    __device__ real operator()(index c, index k) const {
        index o = quotient(k, places);
        return w[(o * channels + c) * places + k - o * places];
    }
};

// b((o, p, q), (n, u, v)): gy at the window whose kernel position (p, q) lies on pixel (u, v). For strides above 1 most are 0:
// each pixel meets only one kernel position in stride_i x stride_j.
struct WindowsOnPixels {
    const real* gy;
    int O, first;
    Window w;
    const real* image;
    int u, v;
    Odometer o_p_q;
    __device__ void at(index column, index k) {
        v = take(column, w.W), u = take(column, w.H);
        image = gy + (column * O + first) * w.I * w.J;
        o_p_q.set(k, w.R, w.S);
    }
    __device__ real next() {
        real value = window_on_pixel(image + o_p_q.high * w.I * w.J, w, u, v, o_p_q.middle, o_p_q.low);
        o_p_q.advance();
        return value;
    }
};

// eq: conv.grad_x, conv.transpose2d
template <int ROWS>
__device__ void conv2d_grad_x_tiled(const real* gy, const real* w, const real* b, bool has_bias, real* gx, index columns, int C,
                                    int O, int groups, const Window& window, real (*a_tile)[ROWS + PACK],
                                    real (*b_tile)[COLUMNS]) {
    int group = blockIdx.z, outputs = O / groups, channels = C / groups;
    index places = (index)window.R * window.S;
    TurnedKernels a{w + group * outputs * channels * places, channels, places};
    WindowsOnPixels windows{gy, O, group * outputs, window};
    Maps out{gx, b, has_bias, C, group * channels, (index)window.H * window.W};
    product<ROWS>((index)ROWS * blockIdx.y, channels, (index)COLUMNS * blockIdx.x, columns, 0, outputs * places, a, windows, out,
                  a_tile, b_tile);
}

#define CONV2D_GRAD_X_TILED(ROWS)                                                                                               \
    extern "C" __global__ void conv2d_grad_x_tiled_##ROWS(const real* gy, const real* w, const real* b, bool has_bias, real* gx, \
                                                          index columns, int C, int O, int groups, WINDOW_PARAMETERS) {        \
        PRODUCT_TILES(ROWS)                                                                                                     \
        conv2d_grad_x_tiled<ROWS>(gy, w, b, has_bias, gx, columns, C, O, groups, WINDOW, a_tile, b_tile);                       \
    }
CONV2D_GRAD_X_TILED(16)
CONV2D_GRAD_X_TILED(32)
CONV2D_GRAD_X_TILED(64)

// a(o, (n, i, j)) = gy[n, o, i, j]
struct Gradients {
    const real* gy;
    int O, first;
    index pixels;
    __device__ real operator()(index o, index k) const {
        index n = quotient(k, pixels);
        return gy[(n * O + first + o) * pixels + k - n * pixels];
    }
};

// b((n, i, j), (c, p, q)): the same pixels as in Windows, with rows and columns exchanged.
struct KernelPositions {
    const real* x;
    int C, first;
    Window w;
    const real* plane;
    int p, q;
    Odometer n_i_j;
    __device__ void at(index column, index k) {
        q = take(column, w.S), p = take(column, w.R);
        plane = x + (first + column) * w.H * w.W;
        n_i_j.set(k, w.I, w.J);
    }
    __device__ real next() {
        real pixel = pixel_of_window(plane + n_i_j.high * C * w.H * w.W, w, n_i_j.middle, n_i_j.low, p, q);
        n_i_j.advance();
        return pixel;
    }
};

// parts[part, group, o, (c, p, q)]
struct Part {
    real* sums;
    index columns;
    __device__ real* place(index o, index column) const { return sums + o * columns + column; }
    __device__ real shift(index, index) const { return 0; }
};

// eq: conv.grad_w. Part by part: part z of the pixels k0 ... k1 - 1 of all images.
template <int ROWS>
__device__ void conv2d_grad_w_tiled(const real* gy, const real* x, real* sums, int N, int parts, int C, int O, int groups,
                                    const Window& window, real (*a_tile)[ROWS + PACK], real (*b_tile)[COLUMNS]) {
    int group = blockIdx.z % groups, part = blockIdx.z / groups, outputs = O / groups, channels = C / groups;
    index pixels = (index)window.I * window.J, columns = (index)channels * window.R * window.S;
    index k0 = N * pixels * part / parts, k1 = N * pixels * (part + 1) / parts;
    Gradients a{gy, O, group * outputs, pixels};
    KernelPositions positions{x, C, group * channels, window};
    Part out{sums + (index)blockIdx.z * outputs * columns, columns};
    product<ROWS>((index)ROWS * blockIdx.y, outputs, (index)COLUMNS * blockIdx.x, columns, k0, k1, a, positions, out, a_tile,
                  b_tile);
}

#define CONV2D_GRAD_W_TILED(ROWS)                                                                                               \
    extern "C" __global__ void conv2d_grad_w_tiled_##ROWS(const real* gy, const real* x, real* sums, int N, int parts, int C,   \
                                                          int O, int groups, WINDOW_PARAMETERS) {                              \
        PRODUCT_TILES(ROWS)                                                                                                     \
        conv2d_grad_w_tiled<ROWS>(gy, x, sums, N, parts, C, O, groups, WINDOW, a_tile, b_tile);                                 \
    }
CONV2D_GRAD_W_TILED(16)
CONV2D_GRAD_W_TILED(32)
CONV2D_GRAD_W_TILED(64)

// gw = the sum of all parts.
extern "C" __global__ void sum_parts(const real* sums, real* gw, index total, int parts) {
    add_side_by_side(sums, gw, total, parts);
}

// ------------------------------------------------------------------------------------------------------------------ direct
// blockIdx.x is the tile of pixels, of all images; .y the tile of output channels, .z the group.

// y (N, O, I, J) from x (N, C, H, W). The gradient for x is the same with turned kernels: it goes from gy to gx.
template <int OUTPUTS>
__device__ void conv2d_direct(DirectTiles<OUTPUTS>& tiles, const real* x, const real* w, bool turned, const DirectOutputs& all, int C,
                              int O, int groups, int H, int W, int padding_i, int padding_j) {
    const int height = DirectTiles<OUTPUTS>::HEIGHT;
    int group = blockIdx.z, inputs = C / groups, outputs = O / groups;
    index n = blockIdx.x;
    int across = take(n, (all.J + TILE_WIDTH - 1) / TILE_WIDTH), down = take(n, (all.I + height - 1) / height);
    DirectInputs in{x + (n * C + group * inputs) * H * W, inputs, H, W};
    DirectWeights weights{w + (index)group * inputs * outputs * POSITIONS, inputs, outputs, turned};
    DirectOutputs out = all;
    out.y += (n * O + group * outputs) * all.I * all.J;
    out.b += group * outputs;
    out.outputs = outputs;
    direct<OUTPUTS>(tiles, in, weights, out, OUTPUTS * blockIdx.y, height * down, TILE_WIDTH * across, padding_i, padding_j);
}

// eq: conv.corr2d, conv.corr2d_relu, conv.grad_x, conv.transpose2d
#define CONV2D_DIRECT(OUTPUTS)                                                                                                    \
    extern "C" __global__ void __launch_bounds__(DIRECT_THREADS, DIRECT_BLOCKS) \
        conv2d_direct_##OUTPUTS(const real* x, const real* w, bool turned, const real* b, bool has_bias, bool rectified, real* y, \
                                int C, int O, int groups, int H, int W, int I, int J, int padding_i, int padding_j) {             \
        __shared__ DirectTiles<OUTPUTS> tiles;                                                                                    \
        conv2d_direct<OUTPUTS>(tiles, x, w, turned, DirectOutputs{y, b, has_bias, rectified, O, I, J}, C, O, groups, H, W,        \
                               padding_i, padding_j);                                                                             \
    }
CONV2D_DIRECT(16)
CONV2D_DIRECT(32)
CONV2D_DIRECT(64)

// sums[part, group, o, c, p, q]: part z of the tiles of pixels of all images. blockIdx.x is the tile of input channels.  eq: conv.grad_w
extern "C" __global__ void __launch_bounds__(DIRECT_THREADS, DIRECT_BLOCKS)
    conv2d_grad_w_direct(const real* gy, const real* x, real* sums, int N, int parts, int C, int O, int groups, int H, int W, int I,
                         int J, int padding_i, int padding_j) {
    __shared__ GradientTiles tiles;
    int group = blockIdx.z % groups, part = blockIdx.z / groups, inputs = C / groups, outputs = O / groups;
    int across = (J + TILE_WIDTH - 1) / TILE_WIDTH, down = (I + GRADIENT_ROWS - 1) / GRADIENT_ROWS;
    index count = (index)N * down * across, end = count * (part + 1) / parts;
    int c0 = PAIR_SIDE * blockIdx.x, o0 = PAIR_SIDE * blockIdx.y;
    real found[OUTPUTS_EACH][POSITIONS] = {};
    for (index tile = count * part / parts; tile < end; ++tile) {
        index n = tile;
        int j0 = TILE_WIDTH * take(n, across), i0 = GRADIENT_ROWS * take(n, down);
        DirectInputs pixels{x + (n * C + group * inputs) * H * W, inputs, H, W};
        DirectInputs gradients{gy + (n * O + group * outputs) * I * J, outputs, I, J};
        load_lines<PAIR_SIDE, X_LINES, PITCH, X_PITCH>(tiles.x, pixels, c0, i0 - padding_i, j0 - padding_j);
        load_lines<PAIR_SIDE, GRADIENT_ROWS, TILE_WIDTH, GRADIENT_ROWS * TILE_WIDTH>(tiles.gy[0][0], gradients, o0, i0, j0);
        __syncthreads();
        add_tile(tiles, found);
        __syncthreads();  // the next pieces overwrite these
    }
    add_warps(tiles.x, found);
    for (int e = threadIdx.x; e < PAIR_SIDE * PAIR_SIDE * POSITIONS; e += DIRECT_THREADS) {
        int k = e % POSITIONS, c = c0 + e / POSITIONS % PAIR_SIDE, o = o0 + e / (POSITIONS * PAIR_SIDE);
        if (c < inputs && o < outputs) sums[(((index)blockIdx.z * outputs + o) * inputs + c) * POSITIONS + k] = tiles.x[e];
    }
}
