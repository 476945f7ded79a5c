// A matrix product in tiles, out[m, column] = sum_k a(m, k) b(k, column), for whoever can say what a and b are: they need not be
// matrices in memory. conv.cu hands in windows of an image, linear.cu plain matrices.
//
// One thread an output reads 2 K numbers for its K multiply-adds: memory sets the pace. Here a block of 256 threads makes a tile of
// ROWS x COLUMNS outputs. All walk along k together, DEPTH steps at a time: they load a DEPTH x ROWS piece of a and a
// DEPTH x COLUMNS piece of b into shared memory, each number once for the whole tile, and wait for each other. Then each thread
// adds up ROWS/16 x 8 outputs in registers: per step ROWS/16 + 8 reads of shared memory serve 8 ROWS/16 multiply-adds.
//
//   who loads what   Of a, 16 neighbouring threads take 16 neighbouring k of one row; of b, 128 neighbouring threads take 128
//                    neighbouring columns of one k. In memory, both are neighbours too (weights along k, pixels along columns).
//   who adds what    A thread's rows are 16 apart, and so are its columns: the 16 threads of half a warp read 16 neighbouring
//                    numbers, which lie in 16 different banks, and write 16 neighbouring outputs.
#pragma once
#include "common.cuh"

const int DEPTH = 16, COLUMNS = 128, SIDE = 16;      // SIDE x SIDE threads
const int COLUMNS_EACH = COLUMNS / SIDE;
const int PRODUCT_THREADS = SIDE * SIDE;

// Shared memory is declared by each kernel, for a tile of so many rows. One number more in a row of a keeps the 16 threads that
// write a column of it out of each other's banks.
#define PRODUCT_TILES(ROWS) \
    __shared__ real a_tile[DEPTH][ROWS + 1]; \
    __shared__ real b_tile[DEPTH][COLUMNS];

// The tile whose first output is (row, column), summed over k from k0 to k1 - 1.
//
//   a(m, k)         the factor on the left; asked only for m < rows, k < k1
//   b.at(column)    from now on, this column; then b(k) is the factor on the right. Each thread loads one column only, so where
//                   the column lies in memory is worked out once.
//   put(m, column, value)
template <int ROWS, class A, class B, class Put>
__device__ void product(index row, index rows, index column, index columns, index k0, index k1, const A& a, B b, const Put& put,
                        real (*a_tile)[ROWS + 1], real (*b_tile)[COLUMNS]) {
    const int rows_each = ROWS / SIDE;
    int t = threadIdx.x, x = t % SIDE, y = t / SIDE;
    int b_column = t % COLUMNS;
    bool has_column = column + b_column < columns;
    if (has_column) b.at(column + b_column);
    real sums[rows_each][COLUMNS_EACH];
    for (int r = 0; r < rows_each; ++r)
        for (int c = 0; c < COLUMNS_EACH; ++c) sums[r][c] = 0;

    for (index k = k0; k < k1; k += DEPTH) {
        for (int m = y; m < ROWS; m += SIDE) a_tile[x][m] = row + m < rows && k + x < k1 ? a(row + m, k + x) : real(0);
        for (int d = t / COLUMNS; d < DEPTH; d += PRODUCT_THREADS / COLUMNS)
            b_tile[d][b_column] = has_column && k + d < k1 ? b(k + d) : real(0);
        __syncthreads();
#pragma unroll
        for (int d = 0; d < DEPTH; ++d) {
            real left[rows_each], right[COLUMNS_EACH];
            for (int r = 0; r < rows_each; ++r) left[r] = a_tile[d][y + SIDE * r];
            for (int c = 0; c < COLUMNS_EACH; ++c) right[c] = b_tile[d][x + SIDE * c];
            for (int r = 0; r < rows_each; ++r)
                for (int c = 0; c < COLUMNS_EACH; ++c) sums[r][c] += left[r] * right[c];
        }
        __syncthreads();  // the next pieces overwrite these
    }

    for (int r = 0; r < rows_each; ++r)
        for (int c = 0; c < COLUMNS_EACH; ++c) {
            index m = row + y + SIDE * r, j = column + x + SIDE * c;
            if (m < rows && j < columns) put(m, j, sums[r][c]);
        }
}
