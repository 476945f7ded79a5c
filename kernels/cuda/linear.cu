// The affine map: x (N, I), w (O, I), b (O,), y (N, O). The ladder:
//
//   cublas   The vendor's matrix product; only the bias is left to add. That goes through y once more: cuBLAS adds to what is in y
//            already, but then the bias has to be written there first, and read again.
//   tiled    A product of our own, to be read: tiles in shared memory (product.cuh). The three products of forward and backward
//            differ only in how far apart neighbours lie in memory, so one kernel with those distances computes all three.
//
// The sum over samples for the bias goes down columns: neighbouring threads read neighbouring columns, 8 threads share a column,
// and several blocks. Each adds up a part of the samples, a second launch the parts, in a fixed order.
#include "product.cuh"

struct Matrix {
    const real* first;
    index row_step, column_step;
    __device__ real operator()(index row, index column) const { return first[row * row_step + column * column_step]; }
};

struct Column {
    Matrix matrix;
    index column;
    index k;
    __device__ void at(index j, index first) { column = j, k = first; }
    __device__ real next() {
        real value = matrix(k, column);
        k += LOADERS;
        return value;
    }
};

struct Rows {
    real* y;
    const real* b;
    bool has_bias;
    index columns;
    __device__ real* place(index m, index column) const { return y + m * columns + column; }
    __device__ real shift(index, index column) const { return has_bias ? b[column] : real(0); }
};

// y[m, j] = sum_k a[m, k] c[k, j] + b[j].  eq: dense.affine, dense.grad_x, dense.grad_w
extern "C" __global__ void matmul_tiled(const real* a, index a_row, index a_column, const real* c, index c_row, index c_column,
                                        const real* b, bool has_bias, real* y, index rows, index columns, index terms) {
    PRODUCT_TILES(64)
    product<64>((index)64 * blockIdx.y, rows, (index)COLUMNS * blockIdx.x, columns, 0, terms, Matrix{a, a_row, a_column},
                Column{Matrix{c, c_row, c_column}, 0, 0}, Rows{y, b, has_bias, columns}, a_tile, b_tile);
}

// y[n, o] += b[o], in packs where a row is made of whole ones.
extern "C" __global__ void add_bias(const real* b, real* y, index total, int O) {
    auto add = [](real y, real b) { return y + b; };
    index wide = O % PACK == 0 && aligned(b, y) ? total / PACK : 0;
    for (index i = thread_number(); i < wide; i += thread_count()) {
        index rest = i;
        packs(y)[i] = apply(add, packs(y)[i], packs(b)[take(rest, O / PACK)]);
    }
    for (index i = wide * PACK + thread_number(); i < total; i += thread_count()) {
        index rest = i;
        y[i] = add(y[i], b[take(rest, O)]);
    }
}

// A block has 32 columns and every gridDim.y-th lot of 8 rows; thread (o, s) adds the rows s of these lots in column o, then the
// eight sums are added in order. parts (gridDim.y, O).  eq: dense.grad_b
extern "C" __global__ void linear_grad_b(const real* gy, double* parts, index N, index O) {
    __shared__ double sums[SHARERS][WARP];
    index o = (index)WARP * blockIdx.x + threadIdx.x, step = (index)SHARERS * gridDim.y;
    real sum = 0;
    if (o < O) {
#pragma unroll 8
        for (index n = (index)SHARERS * blockIdx.y + threadIdx.y; n < N; n += step) sum += gy[n * O + o];
    }
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y != 0 || o >= O) return;
    double part = 0;
    for (int s = 0; s < SHARERS; ++s) part += sums[s][threadIdx.x];
    parts[blockIdx.y * O + o] = part;
}

extern "C" __global__ void add_parts(const double* parts, real* total, index count, int sums) {
    add_up(parts, total, count, sums);
}
