// Resizing, nearest neighbour and bilinear. x is (N C) planes of H x W pixels, y as many planes of I x J.
//
// A thread has one pixel of the output in several planes (common.cuh), for its sources are the same in all of them. Forward it
// reads its one or four source pixels; neighbouring threads read neighbouring ones. Backward the same would need atomics, for one
// pixel is the source of many. Instead a thread has one pixel of gx and gathers from gy what it was a source of: rows and columns
// from a first to a last one, since sources never run backwards. No atomics, no zeros to begin with, and the same bits every time.
//
// Where an output pixel lies between two source pixels is exact only in double, which is slow on most GPUs, but two divisions serve
// all planes. Backward many weights are needed: they are computed in whole numbers, and become real numbers last.

#include "common.cuh"

// ------------------------------------------------------------------------------------------------------------------ nearest

// The source pixel floor(i H/H') of output pixel i, in integers: no rounding can move it.
__device__ inline int nearest(int i, int size, int out) { return (int)quotient((index)i * size, out); }

// The first output pixel i with floor(i H/H') >= u.
__device__ inline int first_from(int u, int size, int out) { return (int)quotient((index)u * out + size - 1, size); }

// eq: up.nearest
extern "C" __global__ void resize_nearest(const real* x, real* y, index all_planes, int H, int W, int I, int J) {
    Planes planes(all_planes);
    Walk walk = over_plane();
    index outputs = (index)I * J, pixels = (index)H * W;
    for (index k = walk.first; k < outputs; k += walk.step) {
        Place out = place_of(k, I, J);
        const real* source = x + (index)nearest(out.row, H, I) * W + nearest(out.column, W, J);
        InPlanes<real> value;
        value.load(planes, source, pixels);
        value.store(y, planes, outputs, k);
    }
}

// eq: up.nearest_grad
extern "C" __global__ void resize_nearest_grad_x(const real* gy, real* gx, index all_planes, int H, int W, int I, int J) {
    Planes planes(all_planes);
    Walk walk = over_plane();
    index outputs = (index)I * J, pixels = (index)H * W;
    for (index k = walk.first; k < pixels; k += walk.step) {
        Place here = place_of(k, H, W);
        int top = first_from(here.row, H, I), bottom = first_from(here.row + 1, H, I);
        int left = first_from(here.column, W, J), right = first_from(here.column + 1, W, J);
        InPlanes<real> total = {};
        for (int i = top; i < bottom; ++i)
            for (int j = left; j < right; ++j)
                total.add(planes, 1, gy + (index)i * J + j, outputs);
        total.store(gx, planes, pixels, k);
    }
}

// ----------------------------------------------------------------------------------------------------------------- bilinear

// For output pixel i: the source pixel below, the one above (the same at the border), and how far beyond the former it lies.
struct Source {
    int here, next;
    real beyond;
    __device__ Source(int i, int size, int out) {
        double position = fmax((i + 0.5) * size / out - 0.5, 0.0);
        here = min((int)position, size - 1);
        next = min(here + 1, size - 1);
        beyond = (real)(position - here);
    }
};

// eq: up.bilinear. First between columns, then between rows.
extern "C" __global__ void resize_bilinear(const real* x, real* y, index all_planes, int H, int W, int I, int J) {
    Planes planes(all_planes);
    Walk walk = over_plane();
    index outputs = (index)I * J, pixels = (index)H * W;
    for (index k = walk.first; k < outputs; k += walk.step) {
        Place out = place_of(k, I, J);
        Source row(out.row, H, I), column(out.column, W, J);
        const real *upper = x + (index)row.here * W, *lower = x + (index)row.next * W;
        InPlanes<real> left, right, value, next;
        left.load(planes, upper + column.here, pixels);
        right.load(planes, upper + column.next, pixels);
        value.load(planes, lower + column.here, pixels);
        next.load(planes, lower + column.next, pixels);
#pragma unroll
        for (int p = 0; p < PLANES; ++p) {
            real above = (1 - column.beyond) * left.value[p] + column.beyond * right.value[p];
            real below = (1 - column.beyond) * value.value[p] + column.beyond * next.value[p];
            value.value[p] = (1 - row.beyond) * above + row.beyond * below;
        }
        value.store(y, planes, outputs, k);
    }
}

// Where output pixel i lies on the source pixels' scale, (i + 1/2) H/H' - 1/2, but not before the first pixel nor behind the last:
// in units of 1/(2 H'), so that it is a whole number.
__device__ inline index position(int i, int size, int out) {
    return min(max((2 * (index)i + 1) * size - out, (index)0), 2 * (index)out * (size - 1));
}

// The first output pixel that lies at source pixel u or beyond it; for the u before the first one 0, for the u behind the last H'.
__device__ inline int first_at(int u, int size, int out) {
    index least = (2 * (index)u + 1) * out - size;  // (2 i + 1) H >= (2 u + 1) H'
    return least <= 0 ? 0 : (int)min(quotient(least + 2 * (index)size - 1, 2 * (index)size), (index)out);
}

// The weight that output pixel i gives to source pixel u, in units of 1/(2 H').
__device__ inline index weight(int i, int u, int size, int out) {
    index apart = position(i, size, out) - 2 * (index)out * u;
    return max(2 * (index)out - (apart < 0 ? -apart : apart), (index)0);
}

// eq: up.bilinear_grad. The same weights, backwards: of the outputs between the neighbours of a pixel.
extern "C" __global__ void resize_bilinear_grad_x(const real* gy, real* gx, index all_planes, int H, int W, int I, int J) {
    Planes planes(all_planes);
    Walk walk = over_plane();
    index outputs = (index)I * J, pixels = (index)H * W;
    for (index k = walk.first; k < pixels; k += walk.step) {
        Place here = place_of(k, H, W);
        int u = here.row, v = here.column;
        int top = first_at(u - 1, H, I), bottom = first_at(u + 1, H, I);
        int left = first_at(v - 1, W, J), right = first_at(v + 1, W, J);
        InPlanes<real> total = {};
        for (int i = top; i < bottom; ++i) {
            real down = real(weight(i, u, H, I)) / (2 * real(I));
            for (int j = left; j < right; ++j) {
                real share = down * real(weight(j, v, W, J)) / (2 * real(J));
                total.add(planes, share, gy + (index)i * J + j, outputs);
            }
        }
        total.store(gx, planes, pixels, k);
    }
}
