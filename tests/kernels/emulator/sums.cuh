// Sums of warps and blocks, for correct.cu.
#pragma once

template <class T>
__device__ __forceinline__ T warp_sum_of(T value) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_down_sync(0xffffffffu, value, offset);
    return value;
}

// The sum in thread 0. Every thread of the block must come here; a block has whole warps.
template <class T>
__device__ T block_sum(T value) {
    __shared__ T of_warps[32];
    value = warp_sum_of(value);
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = value;
    __syncthreads();
    value = threadIdx.x < blockDim.x / 32 ? of_warps[threadIdx.x] : T(0);
    return threadIdx.x < 32 ? warp_sum_of(value) : T(0);
}
