// Kernels that do nothing wrong, each using something that a checker could take for wrong. REAL is float or double.
#include "sums.cuh"

// A tree in dynamic shared memory; its size is the block's.
extern "C" __global__ void tree_sum(const REAL* __restrict__ x, REAL* __restrict__ out, int n) {
    extern __shared__ REAL sums[];
    int i = blockIdx.x * blockDim.x + threadIdx.x, t = threadIdx.x;
    sums[t] = i < n ? x[i] : REAL(0);
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (t < half) sums[t] += sums[t + half];
        __syncthreads();
    }
    if (t == 0) out[blockIdx.x] = sums[0];
}

// Warps by shuffles, then their sums by the first warp; a static shared array in a template.
extern "C" __global__ void __launch_bounds__(256) warp_sum(const REAL* __restrict__ x, REAL* __restrict__ out, int n) {
    REAL sum = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += x[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

// Tiles in static shared memory; some threads load zeros, all reach every barrier.
extern "C" __global__ void __launch_bounds__(16 * 16)
matmul(const REAL* __restrict__ a, const REAL* __restrict__ b, REAL* __restrict__ c, int rows, int columns, int inner) {
    __shared__ REAL a_tile[16][16], b_tile[16][17];
    int row = blockIdx.y * 16 + threadIdx.y, column = blockIdx.x * 16 + threadIdx.x;
    REAL sum = 0;
    for (int start = 0; start < inner; start += 16) {
        int k = start + threadIdx.x, l = start + threadIdx.y;
        a_tile[threadIdx.y][threadIdx.x] = row < rows && k < inner ? a[row * inner + k] : REAL(0);
        b_tile[threadIdx.y][threadIdx.x] = column < columns && l < inner ? b[l * columns + column] : REAL(0);
        __syncthreads();
#pragma unroll
        for (int k = 0; k < 16; ++k) sum += a_tile[threadIdx.y][k] * b_tile[k][threadIdx.x];
        __syncthreads();
    }
    if (row < rows && column < columns) c[row * columns + column] = sum;
}

// Atomics on shared memory, then on global memory, from several blocks.
extern "C" __global__ void histogram(const unsigned char* __restrict__ labels, int* __restrict__ counts, int n) {
    __shared__ int own[4];
    if (threadIdx.x < 4) own[threadIdx.x] = 0;
    __syncthreads();
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) atomicAdd(&own[labels[i]], 1);
    __syncthreads();
    if (threadIdx.x < 4) atomicAdd(&counts[threadIdx.x], own[threadIdx.x]);
}

// Each half of a warp works for itself, with masks of its own and at its own pace.
extern "C" __global__ void reverse_halves(const REAL* __restrict__ x, REAL* __restrict__ y, int n) {
    __shared__ REAL turn[64];
    int i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32, t = threadIdx.x;
    unsigned mine = lane < 16 ? 0x0000ffffu : 0xffff0000u;
    REAL value = i < n ? x[i] : REAL(0);
    for (int round = 0; round < (lane < 16 ? 1 : 3); ++round) {
        turn[t] = value;
        __syncwarp(mine);
        value = turn[t ^ 15];
        __syncwarp(mine);
    }
    if (i < n) y[i] = __any_sync(mine, 1) ? value : REAL(0);
}

// Threads that leave before their warp votes: those that are left vote among themselves.
extern "C" __global__ void how_many_left(int* __restrict__ counts, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    counts[i] = __popc(__ballot_sync(0xffffffffu, 1));
}

// Neighbouring bytes of shared memory belong to different threads; flags are booleans.
extern "C" __global__ void bytes(const unsigned char* __restrict__ x, unsigned char* __restrict__ y, int n) {
    __shared__ unsigned char copy[64];
    __shared__ bool seen[64];
    int i = blockIdx.x * blockDim.x + threadIdx.x, t = threadIdx.x;
    copy[t] = i < n ? x[i] : 0;
    seen[t] = i < n;
    __syncthreads();
    int other = blockDim.x - 1 - t;
    if (i < n) y[i] = seen[other] ? copy[other] : 255;
}

// Four numbers at once, and what is left one by one.
extern "C" __global__ void copy_by_fours(const float* __restrict__ x, float* __restrict__ y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, fours = n / 4;
    if (i < fours) reinterpret_cast<float4*>(y)[i] = reinterpret_cast<const float4*>(x)[i];
    if (i < n % 4) y[4 * fours + i] = x[4 * fours + i];
}

// In place: x and y may be one array.
extern "C" __global__ void add_to(const REAL* x, REAL* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] += x[i];
}
