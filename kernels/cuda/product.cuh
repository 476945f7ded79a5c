// A matrix product in tiles, out[m, column] = sum_k a(m, k) b(k, column), for whoever can say what a and b are: they need not be
// matrices in memory. conv.cu hands in windows of an image, linear.cu plain matrices.
//
// One thread an output reads 2 K numbers for its K multiply-adds: memory sets the pace. Here a block of 256 threads makes a tile of
// ROWS x COLUMNS outputs. All walk along k together, DEPTH steps at a time: they load a DEPTH x ROWS piece of a and a
// DEPTH x COLUMNS piece of b into shared memory, each number once for the whole tile, and wait for each other. Then each thread
// adds up ROWS/16 x 8 outputs in registers: per step ROWS/16 + 8 numbers out of shared memory serve 8 ROWS/16 multiply-adds.
//
//   who loads what   Of a, 16 neighbouring threads take 16 neighbouring k of one row; of b, 128 neighbouring threads take 128
//                    neighbouring columns of one k. In memory, both are neighbours too (weights along k, pixels along columns).
//   where it lies    A thread stays with its column of b and goes down along k, so it knows where it is and need not work that out
//                    anew from k and column for every number: with divisions, that took longer than the multiply-adds.
//   who adds what    A thread's columns lie in packs of 16 bytes, and so they are read from shared memory, and written where the
//                    outputs lie side by side: 2 reads for 8 floats. 16 neighbouring threads take 16 neighbouring packs, whose
//                    banks differ. With 8 single reads, shared memory would set the pace: it serves 32 numbers while the
//                    multiprocessor does 128 multiply-adds.
#pragma once
#include "common.cuh"

const int DEPTH = 16, COLUMNS = 128, SIDE = 16;  // SIDE x SIDE threads
const int PACKS_EACH = COLUMNS / SIDE / PACK;
const int PRODUCT_THREADS = SIDE * SIDE;
const int LOADERS = PRODUCT_THREADS / COLUMNS;  // so many threads share the loading of a column of b: each takes every LOADERS-th k

// Shared memory is declared by each kernel, for a tile of so many rows. PACK numbers more in a row of a keep most of the 16 threads
// that write a column of it out of each other's banks, and packs where packs may begin.
#define PRODUCT_TILES(ROWS)                                \
    alignas(PACK_BYTES) __shared__ real a_tile[DEPTH][ROWS + PACK]; \
    alignas(PACK_BYTES) __shared__ real b_tile[DEPTH][COLUMNS];

// Write a pack of neighbouring outputs: at once where they lie side by side and a pack may begin, else one by one.
template <class Out>
__device__ void write(const Out& out, index m, index column, index columns, Pack sums) {
    for (int j = 0; j < PACK; ++j)
        if (column + j < columns) sums.value[j] += out.shift(m, column + j);
    real* first = out.place(m, column);
    if (column + PACK <= columns && out.place(m, column + PACK - 1) == first + PACK - 1 && aligned(first)) {
        *packs(first) = sums;
        return;
    }
    for (int j = 0; j < PACK; ++j)
        if (column + j < columns) *out.place(m, column + j) = sums.value[j];
}

// The tile whose first output is (row, column), summed over k from k0 to k1 - 1.
//
//   a(m, k)                the factor on the left; asked only for m < rows, k < k1
//   b.at(column, k)        from now on, this column, beginning with this k; then each b.next() is the factor on the right, and moves
//                          LOADERS further
//   out.place(m, column)   where the output goes, and out.shift(m, column) what is added to the sum
template <int ROWS, class A, class B, class Out>
__device__ void product(index row, index rows, index column, index columns, index k0, index k1, const A& a, B b, const Out& out,
                        real (*a_tile)[ROWS + PACK], real (*b_tile)[COLUMNS]) {
    const int rows_each = ROWS / SIDE;
    int t = threadIdx.x, x = t % SIDE, y = t / SIDE;
    int b_column = t % COLUMNS, b_first = t / COLUMNS;
    bool has_column = column + b_column < columns;
    if (has_column) b.at(column + b_column, k0 + b_first);
    Pack sums[rows_each][PACKS_EACH] = {};

    for (index k = k0; k < k1; k += DEPTH) {
        for (int m = y; m < ROWS; m += SIDE) a_tile[x][m] = row + m < rows && k + x < k1 ? a(row + m, k + x) : real(0);
        for (int d = b_first; d < DEPTH; d += LOADERS) b_tile[d][b_column] = has_column && k + d < k1 ? b.next() : real(0);
        __syncthreads();
#pragma unroll
        for (int d = 0; d < DEPTH; ++d) {
            real left[rows_each];
            Pack right[PACKS_EACH];
            for (int r = 0; r < rows_each; ++r) left[r] = a_tile[d][rows_each * y + r];
            for (int c = 0; c < PACKS_EACH; ++c) right[c] = packs(b_tile[d])[x + SIDE * c];
            for (int r = 0; r < rows_each; ++r)
                for (int c = 0; c < PACKS_EACH; ++c)
                    for (int j = 0; j < PACK; ++j) sums[r][c].value[j] += left[r] * right[c].value[j];
        }
        __syncthreads();  // the next pieces overwrite these
    }

    for (int r = 0; r < rows_each; ++r)
        for (int c = 0; c < PACKS_EACH; ++c) {
            index m = row + rows_each * y + r, first = column + PACK * (x + SIDE * c);
            if (m < rows && first < columns) write(out, m, first, columns, sums[r][c]);
        }
}
