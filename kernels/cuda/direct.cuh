// 3x3 convolutions with stride 1 and dilation 1, straight from the image: what most layers of a segmentation network are.
//
// The tiled product (product.cuh) takes each pixel into shared memory nine times, once for each kernel position, and works out each
// time where it lies. Here a block loads a tile of the image with a border of one window, DEEP channels at a time, and each pixel
// serves all nine positions from there.
//
//   who adds what    A thread has 2 x 4 pixels of 8 output channels: 64 sums in registers. For each row of the kernel it reads the
//                    2 x 6 pixels that its windows meet, and for each position 8 weights: in 10 packs (of floats), what 192
//                    multiply-adds need. All threads of a warp read the same weights, or two sets of them: shared memory hands the
//                    same number to many at no extra cost.
//   tile and block   8 threads stand side by side, for 32 pixels; the other threads of the block's 256 go to rows of pixels, or to
//                    output channels, eight each: 32 rows for 16 channels, 16 rows for 32, 8 rows for 64.
#pragma once
#include "common.cuh"

const int KERNEL = 3, POSITIONS = KERNEL * KERNEL;
const int DIRECT_THREADS = 256, ABREAST = 8;  // threads of a block, and those side by side in a row of pixels
const int PIXELS_EACH = 4, ROWS_EACH = 2, OUTPUTS_EACH = 8, DEEP = 4;

// Blocks on one multiprocessor at once, which share its registers. For 12.1 the compiler wants more of them than half.
#if __CUDA_ARCH__ >= 1210
const int DIRECT_BLOCKS = 1;
#else
const int DIRECT_BLOCKS = sizeof(real) == 4 ? 2 : 1;
#endif
const int TILE_WIDTH = ABREAST * PIXELS_EACH, PITCH = TILE_WIDTH + 4;  // with the border, in whole packs
const int WINDOW_PACKS = (PIXELS_EACH + KERNEL - 2) / PACK + 1;

// A piece of the image and of the kernels. The pack behind the weights of a position keeps most of the threads that write
// neighbouring positions out of each other's banks.
template <int OUTPUTS>
struct DirectTiles {
    static const int HEIGHT = ROWS_EACH * DIRECT_THREADS / ABREAST / (OUTPUTS / OUTPUTS_EACH);
    alignas(PACK_BYTES) real x[DEEP][HEIGHT + KERNEL - 1][PITCH];
    alignas(PACK_BYTES) real w[DEEP][POSITIONS][OUTPUTS + PACK];
};

// The weights of a group: of output o, input c and kernel position k. Turned, they belong to the gradient for x: inputs and outputs
// have changed places, and the last position comes first.
struct DirectWeights {
    const real* w;
    int inputs, outputs;
    bool turned;
    __device__ real operator()(int o, int c, int k) const {
        return turned ? w[((index)c * outputs + o) * POSITIONS + POSITIONS - 1 - k] : w[((index)o * inputs + c) * POSITIONS + k];
    }
};

// So many channels of H x W pixels.
struct DirectInputs {
    const real* first;
    int channels, H, W;
};

// Where the sums go: channel o of `outputs`, each I x J.
struct DirectOutputs {
    real* y;
    const real* b;
    bool has_bias, rectified;
    int outputs, I, J;
    __device__ real finished(real sum, int o) const {
        if (has_bias) sum += b[o];
        return rectified && sum <= 0 ? real(0) : sum;
    }
    // Four sums side by side: in packs where packs may begin, else one by one.
    __device__ void write(int o, int i, int j, const real (&sums)[PIXELS_EACH]) const {
        if (o >= outputs || i >= I) return;
        real* first = y + ((index)o * I + i) * J + j;
        if (j + PIXELS_EACH <= J && aligned(first)) {
            for (int k = 0; k < PIXELS_EACH; k += PACK) {
                Pack pack;
                for (int l = 0; l < PACK; ++l) pack.value[l] = finished(sums[k + l], o);
                *packs(first + k) = pack;
            }
            return;
        }
        for (int k = 0; k < PIXELS_EACH; ++k)
            if (j + k < J) first[k] = finished(sums[k], o);
    }
};

// Load CHANNELS x ROWS lines of WIDTH pixels, from pixel (u0, v0) of channel c0 on, 0 where there is none. A line lies PITCH behind
// the one above it, a channel CHANNEL_PITCH behind the one before. A warp stays with its channel and goes down its lines, so where a
// line lies is an addition. Of a line longer than a warp, the first lanes load the rest.
template <int CHANNELS, int ROWS, int WIDTH, int CHANNEL_PITCH>
__device__ void load_lines(real* tile, const DirectInputs& in, int c0, int u0, int v0) {
    const int warps = DIRECT_THREADS / WARP, sharers = CHANNELS < warps ? warps / CHANNELS : 1;
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, v = v0 + lane;
    bool inside = v >= 0 && v < in.W, rest_inside = v + WARP >= 0 && v + WARP < in.W;
    for (int c = warp % CHANNELS; c < CHANNELS; c += warps) {
        int row = warp / CHANNELS % sharers;
        const real* line = in.first + ((index)(c0 + c) * in.H + u0 + row) * in.W + v;
        real* place = tile + c * CHANNEL_PITCH + row * WIDTH + lane;
#pragma unroll 4
        for (; row < ROWS; row += sharers) {
            bool there = c0 + c < in.channels && u0 + row >= 0 && u0 + row < in.H;
            place[0] = there && inside ? line[0] : real(0);
            if (lane + WARP < WIDTH) place[WARP] = there && rest_inside ? line[WARP] : real(0);
            line += sharers * in.W;
            place += sharers * WIDTH;
        }
    }
}

template <int OUTPUTS>
__device__ void load_weights(DirectTiles<OUTPUTS>& tiles, const DirectWeights& weights, int c0, int o0) {
#pragma unroll 2
    for (int e = threadIdx.x; e < DEEP * OUTPUTS * POSITIONS; e += DIRECT_THREADS) {
        int k = e % POSITIONS, o = e / POSITIONS % OUTPUTS, c = e / (POSITIONS * OUTPUTS);
        bool inside = c0 + c < weights.inputs && o0 + o < weights.outputs;
        tiles.w[c][k][o] = inside ? weights(o0 + o, c0 + c, k) : real(0);
    }
}

// The outputs o0 ... o0 + OUTPUTS - 1 at the pixels from (i0, j0) on; the window of pixel (0, 0) begins at (-padding_i, -padding_j).
template <int OUTPUTS>
__device__ void direct(DirectTiles<OUTPUTS>& tiles, const DirectInputs& in, const DirectWeights& weights, const DirectOutputs& out,
                       int o0, int i0, int j0, int padding_i, int padding_j) {
    const int rows = DirectTiles<OUTPUTS>::HEIGHT + KERNEL - 1, lines = DirectTiles<OUTPUTS>::HEIGHT / ROWS_EACH;
    int x = threadIdx.x % ABREAST, y = threadIdx.x / ABREAST % lines, group = threadIdx.x / (ABREAST * lines);
    real sums[OUTPUTS_EACH][ROWS_EACH][PIXELS_EACH] = {};

    for (int c0 = 0; c0 < in.channels; c0 += DEEP) {
        load_lines<DEEP, rows, PITCH, rows * PITCH>(tiles.x[0][0], in, c0, i0 - padding_i, j0 - padding_j);
        load_weights<OUTPUTS>(tiles, weights, c0, o0);
        __syncthreads();
#pragma unroll 1
        for (int line = 0; line < DEEP * KERNEL; ++line) {
            int c = line / KERNEL, p = line % KERNEL;
            Pack window[ROWS_EACH][WINDOW_PACKS];
            for (int r = 0; r < ROWS_EACH; ++r)
                for (int k = 0; k < WINDOW_PACKS; ++k)
                    window[r][k] = packs(tiles.x[c][ROWS_EACH * y + r + p])[PIXELS_EACH / PACK * x + k];
#pragma unroll
            for (int q = 0; q < KERNEL; ++q) {
                Pack w[OUTPUTS_EACH / PACK];
                for (int k = 0; k < OUTPUTS_EACH / PACK; ++k)
                    w[k] = packs(tiles.w[c][KERNEL * p + q])[OUTPUTS_EACH / PACK * group + k];
                for (int o = 0; o < OUTPUTS_EACH; ++o)
                    for (int r = 0; r < ROWS_EACH; ++r)
                        for (int j = 0; j < PIXELS_EACH; ++j)
                            sums[o][r][j] += w[o / PACK].value[o % PACK] * window[r][(j + q) / PACK].value[(j + q) % PACK];
            }
        }
        __syncthreads();  // the next pieces overwrite these
    }
#pragma unroll
    for (int o = 0; o < OUTPUTS_EACH; ++o)
        for (int r = 0; r < ROWS_EACH; ++r)
            out.write(o0 + OUTPUTS_EACH * group + o, i0 + ROWS_EACH * y + r, j0 + PIXELS_EACH * x, sums[o][r]);
}

// ------------------------------------------------------------------------------------------------------- the gradient for w
// gw[o, c, p, q] is a sum over all pixels of gy[o, i, j] x[c, i + p, j + q]. A block has 16 x 16 pairs of an output and an input
// channel, and walks over tiles of pixels. A warp has all the pairs: a thread those of 8 outputs with one input, for all nine kernel
// positions: 72 sums in registers. For 4 pixels side by side it reads the 3 x 6 pixels of x that their windows meet, and 4 of gy
// for each output: in 14 packs (of floats), what 288 multiply-adds need. The block's 8 warps take 4 columns of the tile each, and at
// the end add up what they found, one after the other.

const int PAIR_SIDE = 16, GRADIENT_ROWS = 2 * PACK;  // a tile of doubles has half the rows
const int X_LINES = GRADIENT_ROWS + KERNEL - 1;
const int X_PITCH = X_LINES * PITCH + 4;  // channels lie 4 banks apart, or an odd multiple of that: eight threads read eight

struct GradientTiles {
    alignas(PACK_BYTES) real x[PAIR_SIDE * X_PITCH];
    alignas(PACK_BYTES) real gy[PAIR_SIDE][GRADIENT_ROWS][TILE_WIDTH];
};

// Add the products of one tile to a thread's sums.
__device__ inline void add_tile(const GradientTiles& tiles, real (&sums)[OUTPUTS_EACH][POSITIONS]) {
    int strip = threadIdx.x / WARP, c = threadIdx.x % PAIR_SIDE, group = threadIdx.x % WARP / PAIR_SIDE;
#pragma unroll 1
    for (int row = 0; row < GRADIENT_ROWS; ++row) {
        Pack window[KERNEL][WINDOW_PACKS];
        for (int p = 0; p < KERNEL; ++p)
            for (int k = 0; k < WINDOW_PACKS; ++k)
                window[p][k] = packs(tiles.x + c * X_PITCH + (row + p) * PITCH)[PIXELS_EACH / PACK * strip + k];
#pragma unroll
        for (int o = 0; o < OUTPUTS_EACH; ++o) {
            Pack g[PIXELS_EACH / PACK];
            for (int k = 0; k < PIXELS_EACH / PACK; ++k)
                g[k] = packs(tiles.gy[OUTPUTS_EACH * group + o][row])[PIXELS_EACH / PACK * strip + k];
            for (int j = 0; j < PIXELS_EACH; ++j)
                for (int p = 0; p < KERNEL; ++p)
                    for (int q = 0; q < KERNEL; ++q)
                        sums[o][KERNEL * p + q] += g[j / PACK].value[j % PACK] * window[p][(j + q) / PACK].value[(j + q) % PACK];
        }
    }
}

// The warps' sums, added up in their order: total[o][c][position].
__device__ inline void add_warps(real* total, const real (&sums)[OUTPUTS_EACH][POSITIONS]) {
    int warp = threadIdx.x / WARP, c = threadIdx.x % PAIR_SIDE, group = threadIdx.x % WARP / PAIR_SIDE;
    for (int turn = 0; turn < DIRECT_THREADS / WARP; ++turn) {
        if (warp == turn)
            for (int o = 0; o < OUTPUTS_EACH; ++o)
                for (int k = 0; k < POSITIONS; ++k) {
                    real& place = total[((OUTPUTS_EACH * group + o) * PAIR_SIDE + c) * POSITIONS + k];
                    place = turn == 0 ? sums[o][k] : place + sums[o][k];
                }
        __syncthreads();
    }
}
