// Resizing, nearest neighbour and bilinear. x is (N C) planes of H x W pixels, y as many planes of I x J.
//
// A thread has one pixel of the output. Forward it reads its one or four source pixels; neighbouring threads read neighbouring
// ones. Backward the same would need atomics, for one pixel is the source of many. Instead a thread has one pixel of gx and
// gathers from gy what it was a source of: rows and columns from a first to a last one, since sources never run backwards. No
// atomics, no zeros to begin with, and the same bits every time.
//
// Where an output pixel lies between two source pixels is the same for a whole row or column, and exact only in double, which is
// slow on most GPUs. A first, tiny kernel makes a table for each side; the large one looks up.

#include "common.cuh"

// ------------------------------------------------------------------------------------------------------------------ nearest

// The source pixel floor(i H/H') of output pixel i, in integers: no rounding can move it.
__device__ inline int nearest(int i, int size, int out) { return (int)quotient((index)i * size, out); }

// The first output pixel i with floor(i H/H') >= u.
__device__ inline int first_from(int u, int size, int out) { return (int)quotient((index)u * out + size - 1, size); }

// eq: up.nearest
extern "C" __global__ void resize_nearest(const real* x, real* y, index outputs, int H, int W, int I, int J) {
    index k = thread_number();
    if (k >= outputs) return;
    Place out = place_of(k, I, J);
    y[k] = x[(out.plane * H + nearest(out.row, H, I)) * W + nearest(out.column, W, J)];
}

// eq: up.nearest_grad
extern "C" __global__ void resize_nearest_grad_x(const real* gy, real* gx, index pixels, int H, int W, int I, int J) {
    index k = thread_number();
    if (k >= pixels) return;
    Place here = place_of(k, H, W);
    gy += here.plane * I * J;
    int bottom = first_from(here.row + 1, H, I), right = first_from(here.column + 1, W, J);
    real total = 0;
    for (int i = first_from(here.row, H, I); i < bottom; ++i)
        for (int j = first_from(here.column, W, J); j < right; ++j) total += gy[(index)i * J + j];
    gx[k] = total;
}

// ----------------------------------------------------------------------------------------------------------------- bilinear

// For each of `out` output pixels along a side: the source pixel below (the one above is the next, or the same at the border),
// and how far beyond it the output pixel lies.
extern "C" __global__ void find_sources(int* below, real* beyond, int size, int out) {
    int i = (int)thread_number();
    if (i >= out) return;
    double position = fmax((i + 0.5) * size / out - 0.5, 0.0);
    int source = min((int)position, size - 1);
    below[i] = source;
    beyond[i] = (real)(position - source);
}

// For each of `size` source pixels: the first output pixel that it is a source of, and one past the last.
extern "C" __global__ void find_outputs(const int* below, int* first, int* last, int size, int out) {
    int u = (int)thread_number();
    if (u >= size) return;
    int i = 0;
    while (i < out && min(below[i] + 1, size - 1) < u) ++i;
    first[u] = i;
    while (i < out && below[i] <= u) ++i;
    last[u] = i;
}

// eq: up.bilinear. First between columns, then between rows.
extern "C" __global__ void resize_bilinear(
    const real* x, const int* top, const real* down, const int* left, const real* across, real* y,
    index outputs, int H, int W, int I, int J) {
    index k = thread_number();
    if (k >= outputs) return;
    Place out = place_of(k, I, J);
    int i = out.row, j = out.column;
    const real* upper = x + (out.plane * H + top[i]) * W;
    const real* lower = x + (out.plane * H + min(top[i] + 1, H - 1)) * W;
    int here = left[j], next = min(here + 1, W - 1);
    real above = (1 - across[j]) * upper[here] + across[j] * upper[next];
    real below = (1 - across[j]) * lower[here] + across[j] * lower[next];
    y[k] = (1 - down[i]) * above + down[i] * below;
}

// The weight that output pixel i gives to source pixel u: both of its sources are u at the far border.
__device__ inline real weight(const int* below, const real* beyond, int i, int u, int size) {
    real share = 0;
    if (below[i] == u) share += 1 - beyond[i];
    if (min(below[i] + 1, size - 1) == u) share += beyond[i];
    return share;
}

// eq: up.bilinear_grad. The same weights, backwards.
extern "C" __global__ void resize_bilinear_grad_x(
    const real* gy, const int* top, const real* down, const int* first_row, const int* last_row,
    const int* left, const real* across, const int* first_column, const int* last_column, real* gx,
    index pixels, int H, int W, int I, int J) {
    index k = thread_number();
    if (k >= pixels) return;
    Place here = place_of(k, H, W);
    gy += here.plane * I * J;
    real total = 0;
    for (int i = first_row[here.row]; i < last_row[here.row]; ++i) {
        real along = 0;
        for (int j = first_column[here.column]; j < last_column[here.column]; ++j)
            along += weight(left, across, j, here.column, W) * gy[(index)i * J + j];
        total += weight(top, down, i, here.row, H) * along;
    }
    gx[k] = total;
}
