// Attention: q (B, M, d), k (B, N, d), v (B, N, C) -> y (B, M, C) and lse (B, M), the logarithm of each query's sum of exponentials.
// Samples and heads are one axis, B.
//
// As two matrix products with a softmax between them, the weights of all pairs, B M N numbers, would be written to memory and read
// back for each of the three; from a few hundred tokens on they are most of what is moved. Here they are never written:
//
//   forward    A block owns TILE queries and walks over the keys, TILE at a time. A tile of scores stands in registers, so does the
//              tile's part of y. No query's largest score is known before the last key was seen, so weights are exp(s - m) with m
//              the largest so far; where a tile brings a larger one, what was added up is scaled by exp(m_before - m). The sum is
//              divided by once, at the end.
//   backward   Scores are computed again, which costs less than reading them would, and lse makes weights of them at once. What a
//              block adds up it must own, or else blocks would have to add to the same numbers, in an order by chance: so one
//              kernel owns queries and walks over keys, for gq, and another owns keys and walks over queries, for gk and gv. Where
//              there are few keys and many queries (a SegFormer's 256 and 16384) several blocks share a tile of keys. Each adds
//              up its part of the queries, a second launch the parts, in a fixed order.
//
// All products are of two kinds, of tiles in shared memory that lie as in memory, so that both loads and reads are of packs:
// rows with rows (multiply_rows: scores), and weights with columns (multiply_columns: mixtures). Of either, a thread has PACK x PACK
// results in registers: 2 PACK packs serve PACK^3 multiply-adds.
//
// Vectors longer than TILE (64 floats) are taken piece by piece. For a longer d the pieces of a score are added up. Of a result's
// columns, blockIdx.y says which TILE a block has: the next TILE are another block's, which computes the scores anew.
#include "common.cuh"

const int SIDE = 16;  // SIDE x SIDE threads: SIDE threads share PACK rows
const int TILE = SIDE * PACK;
const int ATTENTION_THREADS = SIDE * SIDE, ATTENTION_BLOCKS = 2;  // of a block; and blocks that share a multiprocessor's registers

// A pack behind each row: rows PACK apart, which the two halves of a warp read, begin in other banks.
typedef real Tile[TILE][TILE + PACK];

#define ATTENTION_TILES                          \
    alignas(PACK_BYTES) __shared__ Tile left;  \
    alignas(PACK_BYTES) __shared__ Tile right;

// Which threads share their rows with this one, and what it has of them: rows PACK y ... PACK y + PACK - 1.
__device__ inline int thread_x() { return threadIdx.x % SIDE; }
__device__ inline int thread_y() { return threadIdx.x / SIDE; }
__device__ inline int row_of(int r) { return PACK * thread_y() + r; }

// What a thread has of a tile of scores: of each of its rows, the columns x, x + SIDE, ..., one for each row of `right`. Rows of
// neighbouring threads are neighbours there, and a row is one pack longer than the banks are wide, so packs are read without conflict.
typedef real Scores[PACK][PACK];
__device__ inline int column_of(int c) { return thread_x() + SIDE * c; }

__device__ inline index tiles_of(index rows) { return quotient(rows + TILE - 1, TILE); }

// The rows of one sample of an array (B, rows, columns).
struct Matrix {
    const real* first;
    index rows;
    int columns;
    bool in_packs;  // whether every row begins where a pack may
    __device__ Matrix(const real* array, index sample, index rows, int columns)
        : first(array + sample * rows * columns), rows(rows), columns(columns), in_packs(columns % PACK == 0 && aligned(first)) {}

    __device__ int left_from(index row) const { return (int)min(rows - row, (index)TILE); }

    // The TILE x TILE numbers from (row, column) on; 0 where there are none. All packs are asked for before one is waited for.
    __device__ void load(Tile& tile, index row, int column) const {
        row += thread_y();
        column += PACK * thread_x();
        const real* from = first + row * columns + column;
        Pack found[PACK] = {};
        if (in_packs) {
            for (int r = 0; r < PACK; ++r)
                if (row + SIDE * r < rows && column < columns) found[r] = *packs(from + (index)SIDE * r * columns);
        } else {
            for (int r = 0; r < PACK; ++r)
                for (int j = 0; j < PACK; ++j)
                    if (row + SIDE * r < rows && column + j < columns) found[r].value[j] = from[(index)SIDE * r * columns + j];
        }
        for (int r = 0; r < PACK; ++r) packs(tile[thread_y() + SIDE * r])[thread_x()] = found[r];
    }
};

// What a block owns: TILE rows of one sample, from `row` on, and in the result TILE columns from `column` on.
struct Owned {
    index sample, row;
    int column;
    __device__ explicit Owned(index rows) : column(TILE * blockIdx.y) {
        index tiles = tiles_of(rows);
        sample = quotient(blockIdx.x, tiles);
        row = TILE * (blockIdx.x - sample * tiles);
    }
};

// ------------------------------------------------------------------------------------------------------------- rows with rows

// sums[r][c] += the product of a row of `left` with a row of `right`, over their first `count` numbers.
__device__ inline void multiply_rows(Scores& sums, const Tile& left, const Tile& right, int count) {
    for (int k = 0; k < count; k += PACK) {
        Pack a[PACK], b[PACK];
        for (int r = 0; r < PACK; ++r) a[r] = packs(left[row_of(r)] + k)[0];
        for (int c = 0; c < PACK; ++c) b[c] = packs(right[column_of(c)] + k)[0];
        for (int r = 0; r < PACK; ++r)
            for (int c = 0; c < PACK; ++c)
                for (int j = 0; j < PACK; ++j) sums[r][c] += a[r].value[j] * b[c].value[j];
    }
}

// The products of TILE rows of a, from `row` on, with TILE rows of b, from `other` on.
__device__ inline void products_of_rows(Scores& sums, Tile& left, Tile& right, const Matrix& a, index row, const Matrix& b,
                                        index other) {
    for (int r = 0; r < PACK; ++r)
        for (int c = 0; c < PACK; ++c) sums[r][c] = 0;
    for (int k = 0; k < a.columns; k += TILE) {
        __syncthreads();  // whoever still reads what the tiles held
        a.load(left, row, k);
        b.load(right, other, k);
        __syncthreads();
        multiply_rows(sums, left, right, min(a.columns - k, TILE));
    }
}

// ------------------------------------------------------------------------------------------------------- weights with columns
// Results of 2^n packs of columns take 2^n threads; where that is less than SIDE, the others take their share of the terms.

// A tile's part of some results, this thread's: PACK rows of one pack of columns, and of the terms every `sharers`-th pack.
struct Mixtures {
    Pack sums[PACK];
    int packs_across;
    __device__ explicit Mixtures(int columns) : sums{}, packs_across(SIDE) {
        while (packs_across > 1 && PACK * (packs_across / 2) >= columns) packs_across /= 2;
    }

    __device__ void scale(int r, real factor) {
        for (int j = 0; j < PACK; ++j) sums[r].value[j] *= factor;
    }

    // += the first `count` columns of the weights times as many rows of `right`
    __device__ void multiply_columns(const Tile& weights, const Tile& right, int count) {
        int pack = thread_x() % packs_across, sharer = thread_x() / packs_across, sharers = SIDE / packs_across;
        for (int k = PACK * sharer; k < count; k += PACK * sharers) {
            Pack a[PACK];
            for (int r = 0; r < PACK; ++r) a[r] = packs(weights[row_of(r)] + k)[0];
            for (int i = 0; i < PACK; ++i) {
                Pack b = packs(right[k + i])[pack];
                for (int r = 0; r < PACK; ++r)
                    for (int j = 0; j < PACK; ++j) sums[r].value[j] += a[r].value[i] * b.value[j];
            }
        }
    }

    // += the weights times TILE rows of b, from `row` on, in the TILE columns from `column` on. Afterwards weights lie in `left`.
    __device__ void add(const Scores& weights, const Matrix& b, index row, int column, Tile& left, Tile& right) {
        __syncthreads();  // whoever still reads what the tiles held
        for (int r = 0; r < PACK; ++r)
            for (int c = 0; c < PACK; ++c) left[row_of(r)][column_of(c)] = weights[r][c];
        b.load(right, row, column);
        __syncthreads();
        multiply_columns(left, right, b.left_from(row));
    }

    // Add up what the sharers have of row r, and write `factor` times it to y (rows, columns).
    __device__ void write(int r, real factor, real* y, index row, index rows, int column, int columns) {
        Pack pack = sums[r];
        for (int bit = packs_across; bit < SIDE; bit *= 2)
            for (int j = 0; j < PACK; ++j) pack.value[j] += __shfl_xor_sync(ALL_LANES, pack.value[j], bit);
        column += PACK * (thread_x() % packs_across);
        if (row + row_of(r) >= rows || thread_x() >= packs_across) return;
        real* to = y + (row + row_of(r)) * columns + column;
        for (int j = 0; j < PACK; ++j) pack.value[j] *= factor;
        if (column + PACK <= columns && aligned(to))
            *packs(to) = pack;
        else
            for (int j = 0; j < PACK; ++j)
                if (column + j < columns) to[j] = pack.value[j];
    }
};

// ----------------------------------------------------------------------------------------------------------------- forward

// Over the threads that share a row, by shuffles.
__device__ inline real largest_of_row(real value) {
    for (int bit = SIDE / 2; bit > 0; bit /= 2) {
        real other = __shfl_xor_sync(ALL_LANES, value, bit);
        value = other > value ? other : value;
    }
    return value;
}

__device__ inline real sum_of_row(real value) {
    for (int bit = SIDE / 2; bit > 0; bit /= 2) value += __shfl_xor_sync(ALL_LANES, value, bit);
    return value;
}

// A key that is not there has a score of -inf, and so the weight 0; while all scores were -inf, it is 0 that is taken off instead of
// the largest. NaN is never the largest, but exp(NaN - m) hands it on.  eq: att.attention, att.log_sum
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, ATTENTION_BLOCKS)
    attention(const real* q, const real* k, const real* v, real* y, real* lse, index M, index N, int d, int C, real scale) {
    ATTENTION_TILES
    Owned own(M);
    Matrix queries(q, own.sample, M, d), keys(k, own.sample, N, d), values(v, own.sample, N, C);
    Mixtures mixtures(C - own.column);
    real nothing = log(real(0)), largest[PACK], sum[PACK];
    for (int r = 0; r < PACK; ++r) {
        largest[r] = nothing;
        sum[r] = 0;
    }

    for (index other = 0; other < N; other += TILE) {
        Scores s;
        products_of_rows(s, left, right, queries, own.row, keys, other);
        for (int r = 0; r < PACK; ++r) {
            real before = largest[r], best = before;
            for (int c = 0; c < PACK; ++c) {
                s[r][c] = other + column_of(c) < N ? s[r][c] * scale : nothing;
                best = s[r][c] > best ? s[r][c] : best;
            }
            largest[r] = best = largest_of_row(best);
            real m = best == nothing ? real(0) : best, factor = exp(before - m);
            mixtures.scale(r, factor);
            sum[r] *= factor;
            for (int c = 0; c < PACK; ++c) {
                s[r][c] = exp(s[r][c] - m);
                sum[r] += s[r][c];
            }
        }
        mixtures.add(s, values, other, own.column, left, right);
    }

    for (int r = 0; r < PACK; ++r) {
        real total = sum_of_row(sum[r]);
        mixtures.write(r, 1 / total, y + own.sample * M * C, own.row, M, own.column, C);
        index query = own.row + row_of(r);
        if (blockIdx.y == 0 && thread_x() == 0 && query < M) lse[own.sample * M + query] = largest[r] + log(total);
    }
}

// ---------------------------------------------------------------------------------------------------------------- backward

// inner[i] = sum_c gy[i, c] y[i, c], a warp a query: the same for all of its keys.
extern "C" __global__ void attention_inner(const real* gy, const real* y, real* inner, index rows, int C) {
    index row = thread_number() / WARP;
    if (row >= rows) return;
    real sum = 0;
    for (int c = threadIdx.x % WARP; c < C; c += WARP) sum += gy[row * C + c] * y[row * C + c];
    sum = warp_sum(sum);
    if (threadIdx.x % WARP == 0) inner[row] = sum;
}

// eq: att.grad_q
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, ATTENTION_BLOCKS)
    attention_grad_q(const real* gy, const real* q, const real* k, const real* v, const real* lse, const real* inner, real* gq,
                     index M, index N, int d, int C, real scale) {
    ATTENTION_TILES
    Owned own(M);
    Matrix queries(q, own.sample, M, d), keys(k, own.sample, N, d), values(v, own.sample, N, C), gradients(gy, own.sample, M, C);
    Mixtures sums(d - own.column);
    real log_sum[PACK], mean[PACK];
    for (int r = 0; r < PACK; ++r) {
        index query = own.row + row_of(r);
        log_sum[r] = query < M ? lse[own.sample * M + query] : real(0);
        mean[r] = query < M ? inner[own.sample * M + query] : real(0);
    }

    for (index other = 0; other < N; other += TILE) {
        Scores s, gs;
        products_of_rows(gs, left, right, gradients, own.row, values, other);
        products_of_rows(s, left, right, queries, own.row, keys, other);
        for (int r = 0; r < PACK; ++r)
            for (int c = 0; c < PACK; ++c) {
                real weight = exp(s[r][c] * scale - log_sum[r]);
                gs[r][c] = other + column_of(c) < N ? weight * (gs[r][c] - mean[r]) : real(0);
            }
        sums.add(gs, keys, other, own.column, left, right);
    }
    for (int r = 0; r < PACK; ++r) sums.write(r, scale, gq + own.sample * M * d, own.row, M, own.column, d);
}

// Part blockIdx.z of the queries. gk (parts, B, N, d), gv (parts, B, N, C).  eq: att.grad_k, att.grad_v
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, ATTENTION_BLOCKS)
    attention_grad_kv(const real* gy, const real* q, const real* k, const real* v, const real* lse, const real* inner, real* gk,
                      real* gv, index B, index M, index N, int d, int C, real scale) {
    ATTENTION_TILES
    Owned own(N);
    Matrix queries(q, own.sample, M, d), keys(k, own.sample, N, d), values(v, own.sample, N, C), gradients(gy, own.sample, M, C);
    Mixtures key_sums(d - own.column), value_sums(C - own.column);
    index lots = tiles_of(M), first = lots * blockIdx.z / gridDim.z, last = lots * (blockIdx.z + 1) / gridDim.z;

    for (index other = TILE * first; other < TILE * last; other += TILE) {
        Scores s, gs;
        products_of_rows(gs, left, right, values, own.row, gradients, other);
        products_of_rows(s, left, right, keys, own.row, queries, other);
        for (int c = 0; c < PACK; ++c) {
            index query = other + column_of(c);
            bool there = query < M;
            real log_sum = there ? lse[own.sample * M + query] : real(0);
            real mean = there ? inner[own.sample * M + query] : real(0);
            for (int r = 0; r < PACK; ++r) {
                s[r][c] = there ? exp(s[r][c] * scale - log_sum) : real(0);
                gs[r][c] = there ? s[r][c] * (gs[r][c] - mean) : real(0);
            }
        }
        if (own.column < C) value_sums.add(s, gradients, other, own.column, left, right);
        if (own.column < d) key_sums.add(gs, queries, other, own.column, left, right);
    }
    index part = (blockIdx.z * B + own.sample) * N;
    for (int r = 0; r < PACK; ++r) {
        value_sums.write(r, 1, gv + part * C, own.row, N, own.column, C);
        key_sums.write(r, scale, gk + part * d, own.row, N, own.column, d);
    }
}

extern "C" __global__ void sum_parts(const real* parts, real* total, index count, int number) {
    add_side_by_side(parts, total, count, number);
}
