// Softmax and its logarithm along an axis of x, seen as (outer, K, inner): a row holds the K values that differ only along the
// axis, `inner` apart in memory. For images a row is a pixel and its K classes; for a matrix with its last axis inner is 1.
//
// What a row computes is written once, for a Team of threads that shares it; the rungs of the ladder are the teams:
//
//   thread   One thread a row. Neighbouring threads take neighbouring pixels, so each of their reads is of consecutive addresses,
//            as long as inner is large. The best for images. Where inner is 1 each thread walks along its own stretch of memory,
//            32 stretches a warp, and most bytes that are fetched are not those that are wanted.
//   registers  The same for up to 16 values, which the thread keeps in registers: it reads each once and not three times, and
//            asks for all of them at once. Where the exponentials are the result, they are computed once.
//   block    One block a row: its threads take every blockDim.x-th value, and their maxima and sums are folded by halves in
//            shared memory, with a barrier after each of the log2(256) = 8 foldings. Reads are consecutive where inner is 1; a
//            row of any length is shared by 256 threads. Short rows leave most of them idle.
//   warp     One warp a row, and 8 rows a block: maxima and sums travel from register to register by shuffles, with no barrier
//            and no shared memory. For rows of up to a few thousand values.
//
// A row that holds NaN or +inf, or nothing but -inf, becomes NaN, as in NumPy: inf - inf is NaN, and so is a sum with NaN in it.

#include "common.cuh"

// ------------------------------------------------------------------------------------------------------------------------ teams

struct Thread {
    static const int rank = 0, size = 1;
    __device__ real max(real value) { return value; }
    __device__ real sum(real value) { return value; }
};

struct Warp {
    int rank = threadIdx.x % WARP;
    static const int size = WARP;
    __device__ real max(real value) { return warp_max(value); }
    __device__ real sum(real value) { return warp_sum(value); }
};

struct Block {
    real* scratch;  // one value for each thread
    int rank = threadIdx.x, size = blockDim.x;
    __device__ real max(real value) {
        return folded(value, scratch, [](real a, real b) { return b > a ? b : a; });
    }
    __device__ real sum(real value) { return folded_sum(value, scratch); }
};

// --------------------------------------------------------------------------------------------------------- what a row computes

// Row `number` of the (outer, K, inner) array: where its first value lies.
__device__ inline index row_start(index number, int K, index inner) {
    index outer = quotient(number, inner);
    return outer * K * inner + (number - outer * inner);
}

// Each thread begins with the row's first value, so that one without values of its own has a maximum too. A NaN is no maximum
// unless it comes first; exp(x - m) hands it on either way.
template <class Team>
__device__ real maximum(Team& team, const real* x, int K, index inner) {
    real m = x[0];
    for (int k = team.rank; k < K; k += team.size) {
        real value = x[k * inner];
        m = value > m ? value : m;
    }
    return team.max(m);
}

template <class Team>
__device__ real sum_exp(Team& team, const real* x, real m, int K, index inner) {
    real s = 0;
    for (int k = team.rank; k < K; k += team.size) s += exp(x[k * inner] - m);
    return team.sum(s);
}

// eq: act.softmax
template <class Team>
__device__ void softmax_row(Team team, const real* x, real* y, int K, index inner) {
    real m = maximum(team, x, K, inner);
    real s = sum_exp(team, x, m, K, inner);
    for (int k = team.rank; k < K; k += team.size) y[k * inner] = exp(x[k * inner] - m) / s;
}

// eq: act.softmax_grad
template <class Team>
__device__ void softmax_grad_row(Team team, const real* gy, const real* y, real* gx, int K, index inner) {
    real s = 0;
    for (int k = team.rank; k < K; k += team.size) s += gy[k * inner] * y[k * inner];
    s = team.sum(s);
    for (int k = team.rank; k < K; k += team.size) gx[k * inner] = y[k * inner] * (gy[k * inner] - s);
}

// eq: act.log_softmax
template <class Team>
__device__ void log_softmax_row(Team team, const real* x, real* y, int K, index inner) {
    real m = maximum(team, x, K, inner);
    real log_sum = log(sum_exp(team, x, m, K, inner));
    for (int k = team.rank; k < K; k += team.size) y[k * inner] = x[k * inner] - m - log_sum;
}

// eq: act.log_softmax_grad
template <class Team>
__device__ void log_softmax_grad_row(Team team, const real* gy, const real* y, real* gx, int K, index inner) {
    real s = 0;
    for (int k = team.rank; k < K; k += team.size) s += gy[k * inner];
    s = team.sum(s);
    for (int k = team.rank; k < K; k += team.size) gx[k * inner] = gy[k * inner] - exp(y[k * inner]) * s;
}

// ------------------------------------------------------------------------------------------------------------- who takes which row
// `compute(team, at)` is called with the thread's team and the place of the first value of the team's row.

template <class Compute>
__device__ void by_threads(index rows, int K, index inner, Compute compute) {
    index row = thread_number();
    if (row < rows) compute(Thread(), row_start(row, K, inner));
}

template <class Compute>
__device__ void by_blocks(index rows, int K, index inner, Compute compute) {
    extern __shared__ real scratch[];
    for (index row = blockIdx.x; row < rows; row += gridDim.x) compute(Block{scratch}, row_start(row, K, inner));
}

// All lanes of a warp have the same row, so they skip it together: whoever shuffles finds the whole warp there.
template <class Compute>
__device__ void by_warps(index rows, int K, index inner, Compute compute) {
    index row = thread_number() / WARP;
    if (row < rows) compute(Warp(), row_start(row, K, inner));
}

// -------------------------------------------------------------------------------------------------------------- softmax

extern "C" __global__ void softmax_thread(const real* x, real* y, index rows, int K, index inner) {
    by_threads(rows, K, inner, [=](auto team, index at) { softmax_row(team, x + at, y + at, K, inner); });
}

extern "C" __global__ void softmax_block(const real* x, real* y, index rows, int K, index inner) {
    by_blocks(rows, K, inner, [=](auto team, index at) { softmax_row(team, x + at, y + at, K, inner); });
}

extern "C" __global__ void softmax_warp(const real* x, real* y, index rows, int K, index inner) {
    by_warps(rows, K, inner, [=](auto team, index at) { softmax_row(team, x + at, y + at, K, inner); });
}

// eq: act.softmax
extern "C" __global__ void softmax_registers(const real* x, real* y, index rows, int K, index inner) {
    index number = thread_number();
    if (number >= rows) return;
    index at = row_start(number, K, inner);
    in_registers(x + at, inner, K, [=](auto row) {
        real m = maximum_of(row, x[at]), s = 0;
        row.fold([&](real& value) {
            value = exp(value - m);
            s += value;
        });
        real share = 1 / s;
        row.each([=](int k, real value) { y[at + k * inner] = value * share; });
    });
}

// ------------------------------------------------------------------------------------------------------- softmax_grad_x

extern "C" __global__ void softmax_grad_x_thread(const real* gy, const real* y, real* gx, index rows, int K, index inner) {
    by_threads(rows, K, inner, [=](auto team, index at) { softmax_grad_row(team, gy + at, y + at, gx + at, K, inner); });
}

extern "C" __global__ void softmax_grad_x_block(const real* gy, const real* y, real* gx, index rows, int K, index inner) {
    by_blocks(rows, K, inner, [=](auto team, index at) { softmax_grad_row(team, gy + at, y + at, gx + at, K, inner); });
}

extern "C" __global__ void softmax_grad_x_warp(const real* gy, const real* y, real* gx, index rows, int K, index inner) {
    by_warps(rows, K, inner, [=](auto team, index at) { softmax_grad_row(team, gy + at, y + at, gx + at, K, inner); });
}

// ---------------------------------------------------------------------------------------------------------- log_softmax

extern "C" __global__ void log_softmax_thread(const real* x, real* y, index rows, int K, index inner) {
    by_threads(rows, K, inner, [=](auto team, index at) { log_softmax_row(team, x + at, y + at, K, inner); });
}

extern "C" __global__ void log_softmax_block(const real* x, real* y, index rows, int K, index inner) {
    by_blocks(rows, K, inner, [=](auto team, index at) { log_softmax_row(team, x + at, y + at, K, inner); });
}

extern "C" __global__ void log_softmax_warp(const real* x, real* y, index rows, int K, index inner) {
    by_warps(rows, K, inner, [=](auto team, index at) { log_softmax_row(team, x + at, y + at, K, inner); });
}

// eq: act.log_softmax
extern "C" __global__ void log_softmax_registers(const real* x, real* y, index rows, int K, index inner) {
    index number = thread_number();
    if (number >= rows) return;
    index at = row_start(number, K, inner);
    in_registers(x + at, inner, K, [=](auto row) {
        real m = maximum_of(row, x[at]), log_sum = log(sum_exp_of(row, m));
        row.each([=](int k, real value) { y[at + k * inner] = value - m - log_sum; });
    });
}

// --------------------------------------------------------------------------------------------------- log_softmax_grad_x

extern "C" __global__ void log_softmax_grad_x_thread(const real* gy, const real* y, real* gx, index rows, int K, index inner) {
    by_threads(rows, K, inner, [=](auto team, index at) { log_softmax_grad_row(team, gy + at, y + at, gx + at, K, inner); });
}

extern "C" __global__ void log_softmax_grad_x_block(const real* gy, const real* y, real* gx, index rows, int K, index inner) {
    by_blocks(rows, K, inner, [=](auto team, index at) { log_softmax_grad_row(team, gy + at, y + at, gx + at, K, inner); });
}

extern "C" __global__ void log_softmax_grad_x_warp(const real* gy, const real* y, real* gx, index rows, int K, index inner) {
    by_warps(rows, K, inner, [=](auto team, index at) { log_softmax_grad_row(team, gy + at, y + at, gx + at, K, inner); });
}
