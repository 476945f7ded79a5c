// Batch normalisation. x (N, C, H, W), statistics and weights (C,); L = H W pixels of a plane, M = N L of a channel.
//
// Two kinds of kernels take turns. Those that only look at a pixel and its channel (normalise, gradient_x) give each plane to a
// few blocks: the channel's numbers are computed once a thread and then serve the whole walk. Those that sum over a channel
// (statistics, gradient sums) give each channel to several blocks, gridDim.y of them, for a network has fewer channels than a GPU
// has room for blocks. Each block writes what it found in its part of the pixels, and a second, tiny launch merges the parts, in
// double and in a fixed order: the same bits every time, which atomicAdd would not promise. The ladders:
//
// batch_norm_stats
//   two_pass   One block a channel reads it twice: for the mean, then for the squares about the mean. Sums are folded in shared
//              memory. As exact as it is simple, but x is read twice, and three channels keep three blocks busy.
//   welford    Several blocks a channel, one pass. Each thread updates the mean and the squares about it with every pixel, so
//              nothing cancels; then means and squares are merged, from thread to warp by shuffles, to block, to channel. Half
//              the reading, so that it should be twice as fast where x does not fit into the L2 cache, and more than that where
//              there are few channels.
//
// batch_norm_grad and its kin
//   shared     the threads' sums are folded by halves in shared memory, with a barrier after each of 8 foldings.
//   shuffles   each warp by shuffles, then the 8 warps' sums: two barriers instead of ten.
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

// The moments of both sets of pixels together. Nothing cancels: the squares only grow.
__device__ inline Moments merged(Moments a, Moments b) {
    if (b.count == 0) return a;
    double count = a.count + b.count, share = b.count / count, apart = b.mean - a.mean;
    return {count, a.mean + apart * share, a.squares + b.squares + apart * apart * share * a.count};
}

__device__ inline Moments from_lane_above(Moments m, int distance) {
    return {__shfl_down_sync(ALL_LANES, m.count, distance), __shfl_down_sync(ALL_LANES, m.mean, distance),
            __shfl_down_sync(ALL_LANES, m.squares, distance)};
}

// Lane 0 gets the moments of the whole warp: in five steps each lane merges those of a lane further up.
__device__ inline Moments merged_over_warp(Moments m) {
    for (int distance = WARP / 2; distance > 0; distance /= 2) m = merged(m, from_lane_above(m, distance));
    return m;
}

// Pixel i of the M pixels of channel c.
__device__ inline index pixel_of(index i, int c, int C, index L) {
    index image = quotient(i, L);
    return (image * C + c) * L + (i - image * L);
}

// Which pixels of channel blockIdx.x a thread takes, where the blocks (blockIdx.x, 0), (blockIdx.x, 1), ... share the channel.
__device__ inline Walk over_channel() {
    return {(index)blockIdx.y * blockDim.x + threadIdx.x, (index)gridDim.y * blockDim.x};
}

// Welford: the mean moves by 1/count of the distance, and the squares grow by the distances before and after. In `real`, for
// double is slow on most GPUs, and counted from the thread's own first pixel.
__device__ inline Moments moments_of_thread(const real* x, index M, int C, index L) {
    Walk walk = over_channel();
    if (walk.first >= M) return {0, 0, 0};
    real origin = x[pixel_of(walk.first, blockIdx.x, C, L)], mean = 0, squares = 0;
    int count = 0;
    for (index i = walk.first; i < M; i += walk.step) {
        real value = x[pixel_of(i, blockIdx.x, C, L)] - origin, apart = value - mean;
        count += 1;
        mean += apart / count;
        squares += apart * (value - mean);
    }
    double origin_in_channel = (double)origin - x[blockIdx.x * L];
    return {(double)count, origin_in_channel + mean, squares};
}

// eq: norm.batch_stats. parts (gridDim.y, C): the moments of each block's pixels.
extern "C" __global__ void batch_norm_stats_welford(const real* x, double* parts, index M, int C, index L) {
    __shared__ Moments of_warp[WARP];
    Moments m = merged_over_warp(moments_of_thread(x, M, C, L));
    int lane = threadIdx.x % WARP, warps = blockDim.x / WARP;
    if (lane == 0) of_warp[threadIdx.x / WARP] = m;
    __syncthreads();
    if (threadIdx.x >= WARP) return;
    m = merged_over_warp(lane < warps ? of_warp[lane] : Moments{0, 0, 0});
    if (lane != 0) return;
    double* part = parts + 3 * ((index)blockIdx.y * C + blockIdx.x);
    part[0] = m.count;
    part[1] = m.mean;
    part[2] = m.squares;
}

// eq: norm.batch_stats. One thread a channel merges its parts.
extern "C" __global__ void merge_moments(
    const real* x, const double* parts, real* mean, real* var, int count, int C, index L) {
    int c = (int)thread_number();
    if (c >= C) return;
    Moments m = {0, 0, 0};
    for (int k = 0; k < count; ++k) {
        const double* part = parts + 3 * ((index)k * C + c);
        m = merged(m, {part[0], part[1], part[2]});
    }
    mean[c] = (real)(x[c * L] + m.mean);
    var[c] = (real)(m.squares / m.count);
}

// eq: norm.batch_stats
extern "C" __global__ void batch_norm_stats_two_pass(const real* x, real* mean, real* var, index M, int C, index L) {
    extern __shared__ double scratch[];
    int c = blockIdx.x;
    Walk walk = over_channel();
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

// Which pixels of plane blockIdx.x a thread takes, where the blocks (blockIdx.x, 0), (blockIdx.x, 1), ... share the plane.
__device__ inline Walk over_plane() { return over_channel(); }

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

// The sums of gy (x - mean) and of gy over the pixels that a thread takes of channel blockIdx.x; behind a ReLU, of what it lets
// through.
struct GradientSums {
    double product, total;
};

__device__ inline GradientSums sums_of_thread(const real* gy, const real* x, const Channel& channel, index M, int C, index L) {
    Walk walk = over_channel();
    real product = 0, total = 0;
    for (index i = walk.first; i < M; i += walk.step) {
        index at = pixel_of(i, blockIdx.x, C, L);
        real g = channel.let_through(gy[at], x[at]);
        product += g * (x[at] - channel.mean);
        total += g;
    }
    return {product, total};
}

// parts (gridDim.y, C): the sums over each block's pixels.
__device__ inline void store_part(GradientSums sums, double* parts, int C) {
    if (threadIdx.x != 0) return;
    double* part = parts + 2 * ((index)blockIdx.y * C + blockIdx.x);
    part[0] = sums.product;
    part[1] = sums.total;
}

extern "C" __global__ void gradient_sums_shared(
    const real* gy, const real* x, const real* mean, const real* var, const real* weight, const real* bias, double* parts,
    index M, int C, index L, bool weighted, bool biased, real eps, bool rectified) {
    extern __shared__ double scratch[];
    Channel channel({mean, var, weight, bias, weighted, biased, eps, rectified}, blockIdx.x);
    GradientSums sums = sums_of_thread(gy, x, channel, M, C, L);
    store_part({folded_sum(sums.product, scratch), folded_sum(sums.total, scratch)}, parts, C);
}

extern "C" __global__ void gradient_sums_shuffles(
    const real* gy, const real* x, const real* mean, const real* var, const real* weight, const real* bias, double* parts,
    index M, int C, index L, bool weighted, bool biased, real eps, bool rectified) {
    extern __shared__ double scratch[];
    Channel channel({mean, var, weight, bias, weighted, biased, eps, rectified}, blockIdx.x);
    GradientSums sums = sums_of_thread(gy, x, channel, M, C, L);
    store_part({block_sum(sums.product, scratch), block_sum(sums.total, scratch)}, parts, C);
}

// One thread a channel adds up its parts: the gradients for weight and bias.
extern "C" __global__ void add_gradient_sums(
    const double* parts, const real* var, real* gw, real* gb, int count, int C, real eps) {
    int c = (int)thread_number();
    if (c >= C) return;
    double product = 0, total = 0;
    for (int k = 0; k < count; ++k) {
        const double* part = parts + 2 * ((index)k * C + c);
        product += part[0];
        total += part[1];
    }
    gw[c] = (real)(product / sqrt((double)var[c] + eps));
    gb[c] = (real)total;
}

// eq: norm.batch_grad, norm.batch_eval_grad, norm.batch_relu_grad, norm.batch_relu_eval_grad
// In training, mean and var depend on x, and what gy would move them by is taken off; constants are not moved.
extern "C" __global__ void gradient_x(
    const real* gy, const real* x, const real* mean, const real* var, const real* weight, const real* bias,
    const real* gw, const real* gb, real* gx,
    index M, int C, index L, bool weighted, bool biased, real eps, bool rectified, bool training) {
    int c = blockIdx.x % C;
    Channel channel({mean, var, weight, bias, weighted, biased, eps, rectified}, c);
    real slope = training ? gw[c] * channel.inverse / M : real(0), mean_gy = training ? gb[c] / M : real(0);
    index plane = blockIdx.x * L;
    auto op = [=](real gy, real x) {
        real g = channel.let_through(gy, x);
        return training ? channel.factor * (g - mean_gy - slope * (x - channel.mean)) : channel.factor * g;
    };
    map(over_plane(), L, gx + plane, op, gy + plane, x + plane);
}
