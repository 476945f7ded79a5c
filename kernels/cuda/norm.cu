// Batch normalisation. x (N, C, H, W), statistics and weights (C,); L = H W pixels of a plane, M = N L of a channel.
//
// Two kinds of kernels take turns. Those that only look at a pixel and its channel (normalise, gradient_x) give each plane to a
// few blocks: the channel's numbers are computed once a thread and then serve the whole walk. Those that sum over a channel
// (statistics, gradient sums) give each plane to a few blocks as well, each of which writes what it found in its pixels; a second,
// tiny launch merges the parts, in double and in a fixed order: the same bits every time, which atomicAdd would not promise. The
// ladders:
//
// batch_norm_stats
//   two_pass   One block a channel reads it twice: for the mean, then for the squares about the mean. Sums are folded in shared
//              memory. As exact as it is simple, but x is read twice, and three channels keep three blocks busy.
//   welford    Several blocks a plane, one pass. Each thread updates the mean and the squares about it with every pixel, so
//              nothing cancels; then means and squares are merged, from threads to block to channel. But each pixel waits for a
//              division, and for the pixel before it.
//   shifted    The thread counts from its own first pixel, and adds up distances and their squares: two additions a pixel, no
//              division, and packs are read ahead. About 0 the squares would cancel; about a pixel of its own they are at most
//              n + 1 times as large as about the mean, for n pixels a thread, and n is small.
//
// batch_norm_grad and its kin
//   shared     the threads' sums are folded by halves in shared memory, with a barrier after each of 8 foldings.
//   shuffles   each warp by shuffles, then the 8 warps' sums: two barriers instead of ten.
//
// Where mean and var are constants, gx needs no sums, and is written by the very launch that sums: gy and x are read once.
//
// Behind a ReLU (batch_norm_relu and its gradients) the ReLU costs nothing: it is one comparison on a value that is in a
// register, where a kernel of its own would read and write the whole map again, and its mask is computed anew from x instead of
// being kept.

#include "common.cuh"

// ----------------------------------------------------------------------------------------------------------------- statistics

// How many pixels, their mean, and the sum of their squared distances from it. Means are counted from the channel's first pixel:
// they are small numbers then, with all their digits, also where the pixels are far from 0.
struct Moments {
    double count, mean, squares;
};

// The moments of all pixels together, of which each thread has some; `sum` adds up over the threads. First their mean, then the
// squares about it: nothing cancels, squares only grow.
template <class Sum>
__device__ Moments merged(Moments m, Sum sum) {
    double count = sum(m.count), mean = sum(m.count * m.mean) / count, apart = m.mean - mean;
    return {count, mean, sum(m.squares + m.count * apart * apart)};
}

// Welford: the mean moves by 1/count of the distance, and the squares grow by the distances before and after. In `real`, for
// double is slow on most GPUs, and counted from the thread's own first pixel.
__device__ inline Moments moments_by_welford(const real* plane, index L, double channel_origin) {
    real origin = 0, mean = 0, squares = 0;
    int count = 0;
    auto update = [&](real x) {
        origin = count == 0 ? x : origin;
        real value = x - origin, apart = value - mean;
        count += 1;
        mean += apart / count;
        squares += apart * (value - mean);
    };
    visit(over_plane(), L, update, plane);
    return {(double)count, count > 0 ? origin - channel_origin + mean : 0, squares};
}

// The sums of the distances from the thread's own first pixel, and of their squares. It is one of n pixels, so the squares about
// their mean are at least 1/(n + 1) of those about it: the difference keeps all digits but log2(n + 1) bits.
__device__ inline Moments moments_by_shifting(const real* plane, index L, double channel_origin) {
    real origin = 0, sum = 0, squares = 0;
    int count = 0;
    auto add = [&](real x) {
        origin = count == 0 ? x : origin;
        real value = x - origin;
        count += 1;
        sum += value;
        squares += value * value;
    };
    visit(over_plane(), L, add, plane);
    if (count == 0) return {0, 0, 0};
    double mean = (double)sum / count;
    return {(double)count, origin - channel_origin + mean, squares - sum * mean};
}

// parts (gridDim.y, planes): the moments of each block's pixels.
__device__ inline void store_moments(Moments m, double* parts) {
    __shared__ double scratch[WARP];
    m = merged(m, [&](double value) { return block_sum(value, scratch); });
    if (threadIdx.x != 0) return;
    parts += 3 * part_number();
    parts[0] = m.count;
    parts[1] = m.mean;
    parts[2] = m.squares;
}

// eq: norm.batch_stats
extern "C" __global__ void batch_norm_stats_welford(const real* x, double* parts, int C, index L) {
    store_moments(moments_by_welford(x + blockIdx.x * L, L, x[blockIdx.x % C * L]), parts);
}

// eq: norm.batch_stats
extern "C" __global__ void batch_norm_stats_shifted(const real* x, double* parts, int C, index L) {
    store_moments(moments_by_shifting(x + blockIdx.x * L, L, x[blockIdx.x % C * L]), parts);
}

// eq: norm.batch_stats. One warp a channel merges its parts, as in `merged`.
extern "C" __global__ void merge_moments(
    const real* x, const double* parts, real* mean, real* var, index count, int C, index L) {
    int c = (int)(thread_number() / WARP), lane = threadIdx.x % WARP;
    if (c >= C) return;
    parts += 3 * c;
    double pixels = 0, sum = 0, squares = 0;
#pragma unroll 4
    for (index k = lane; k < count; k += WARP) {
        const double* part = parts + 3 * C * k;
        pixels += part[0];
        sum += part[0] * part[1];
    }
    pixels = warp_sum(pixels);
    double centre = warp_sum(sum) / pixels;
#pragma unroll 4
    for (index k = lane; k < count; k += WARP) {
        const double* part = parts + 3 * C * k;
        squares += part[2] + part[0] * (part[1] - centre) * (part[1] - centre);
    }
    squares = warp_sum(squares);
    if (lane != 0) return;
    mean[c] = (real)(x[c * L] + centre);
    var[c] = (real)(squares / pixels);
}

// Pixel i of the M pixels of channel c.
__device__ inline index pixel_of(index i, int c, int C, index L) {
    index image = quotient(i, L);
    return (image * C + c) * L + (i - image * L);
}

// eq: norm.batch_stats
extern "C" __global__ void batch_norm_stats_two_pass(const real* x, real* mean, real* var, index M, int C, index L) {
    extern __shared__ double scratch[];
    int c = blockIdx.x;
    Walk walk = {threadIdx.x, blockDim.x};
    real sum = 0;
    for (index i = walk.first; i < M; i += walk.step) sum += x[pixel_of(i, c, C, L)];
    real centre = (real)(folded_sum((double)sum, scratch) / M);
    real squares = 0;
    for (index i = walk.first; i < M; i += walk.step) {
        real apart = x[pixel_of(i, c, C, L)] - centre;
        squares += apart * apart;
    }
    double all_squares = folded_sum((double)squares, scratch);
    if (threadIdx.x != 0) return;
    mean[c] = centre;
    var[c] = (real)(all_squares / M);
}

// ------------------------------------------------------------------------------------------------------------- normalisation

// What a channel is normalised by, and whether a ReLU follows. Where there is no weight or no bias, the pointer is to any array.
struct Norm {
    const real *mean, *var, *weight, *bias;
    bool weighted, biased;
    real eps;
    bool rectified;
};

struct Channel {
    real mean, inverse, factor, shift;
    bool rectified;

    __device__ Channel(const Norm& norm, int c)
        : mean(norm.mean[c]),
          inverse(1 / sqrt(norm.var[c] + norm.eps)),
          factor(norm.weighted ? norm.weight[c] * inverse : inverse),
          shift(norm.biased ? norm.bias[c] : real(0)),
          rectified(norm.rectified) {}

    // One pixel normalised. The fma is written out so that forward and backward agree to the bit on where it is > 0.
    __device__ real before_relu(real x) const { return fma(factor, x - mean, shift); }

    // What ReLU, if there is one, lets through of gy.
    __device__ real let_through(real gy, real x) const { return !rectified || before_relu(x) > 0 ? gy : real(0); }
};

// eq: norm.batch, norm.batch_relu
extern "C" __global__ void normalise(
    const real* x, const real* mean, const real* var, const real* weight, const real* bias, real* y,
    int C, index L, bool weighted, bool biased, real eps, bool rectified) {
    Channel channel({mean, var, weight, bias, weighted, biased, eps, rectified}, blockIdx.x % C);
    index plane = blockIdx.x * L;
    auto op = [=](real x) {
        real y = channel.before_relu(x);
        return channel.rectified && y <= 0 ? real(0) : y;  // NaN <= 0 is false: NaN stays
    };
    map(over_plane(), L, y + plane, op, x + plane);
}

// ------------------------------------------------------------------------------------------------------------------ gradients

// The sums of gy (x - mean) and of gy over the pixels that a thread takes of plane blockIdx.x; behind a ReLU, of what it lets
// through. Where nothing but gx = factor gy is left to do, for want of `training`, that is written on the way.
struct GradientSums {
    double product, total;
};

// eq: norm.batch_eval_grad, norm.batch_relu_eval_grad
__device__ inline GradientSums sums_of_thread(
    const real* gy, const real* x, real* gx, const Channel& channel, index L, bool training) {
    index plane = blockIdx.x * L;
    real product = 0, total = 0;
    auto add = [&](real gy, real x) {
        real g = channel.let_through(gy, x);
        product += g * (x - channel.mean);
        total += g;
        return channel.factor * g;
    };
    if (training)
        visit(over_plane(), L, add, gy + plane, x + plane);
    else
        map(over_plane(), L, gx + plane, add, gy + plane, x + plane);
    return {product, total};
}

// parts (gridDim.y, planes): the sums over each block's pixels.
__device__ inline void store_part(GradientSums sums, double* parts) {
    if (threadIdx.x != 0) return;
    parts += 2 * part_number();
    parts[0] = sums.product;
    parts[1] = sums.total;
}

extern "C" __global__ void gradient_sums_shared(
    const real* gy, const real* x, const real* mean, const real* var, const real* weight, const real* bias, real* gx,
    double* parts, int C, index L, bool weighted, bool biased, real eps, bool rectified, bool training) {
    extern __shared__ double scratch[];
    Channel channel({mean, var, weight, bias, weighted, biased, eps, rectified}, blockIdx.x % C);
    GradientSums sums = sums_of_thread(gy, x, gx, channel, L, training);
    store_part(GradientSums{folded_sum(sums.product, scratch), folded_sum(sums.total, scratch)}, parts);
}

extern "C" __global__ void gradient_sums_shuffles(
    const real* gy, const real* x, const real* mean, const real* var, const real* weight, const real* bias, real* gx,
    double* parts, int C, index L, bool weighted, bool biased, real eps, bool rectified, bool training) {
    extern __shared__ double scratch[];
    Channel channel({mean, var, weight, bias, weighted, biased, eps, rectified}, blockIdx.x % C);
    GradientSums sums = sums_of_thread(gy, x, gx, channel, L, training);
    store_part(GradientSums{block_sum(sums.product, scratch), block_sum(sums.total, scratch)}, parts);
}

// One warp a channel adds up its parts: the gradients for weight and bias.
extern "C" __global__ void add_gradient_sums(
    const double* parts, const real* var, real* gw, real* gb, index count, int C, real eps) {
    int c = (int)(thread_number() / WARP);
    if (c >= C) return;
    double product = sum_of_parts(parts + 2 * c, count, 2 * C), total = sum_of_parts(parts + 2 * c + 1, count, 2 * C);
    if (threadIdx.x % WARP != 0) return;
    gw[c] = (real)(product / sqrt((double)var[c] + eps));
    gb[c] = (real)total;
}

// eq: norm.batch_grad, norm.batch_relu_grad
// mean and var depend on x, and what gy would move them by is taken off.
extern "C" __global__ void gradient_x(
    const real* gy, const real* x, const real* mean, const real* var, const real* weight, const real* bias,
    const real* gw, const real* gb, real* gx,
    index M, int C, index L, bool weighted, bool biased, real eps, bool rectified) {
    int c = blockIdx.x % C;
    Channel channel({mean, var, weight, bias, weighted, biased, eps, rectified}, c);
    real slope = gw[c] * channel.inverse / M, mean_gy = gb[c] / M;
    index plane = blockIdx.x * L;
    auto op = [=](real gy, real x) {
        real g = channel.let_through(gy, x);
        return channel.factor * (g - mean_gy - slope * (x - channel.mean));
    };
    map(over_plane(), L, gx + plane, op, gy + plane, x + plane);
}
