// Kernels that each do one thing that a kernel must not do. "// <-" marks where the report must point to; of two accesses that
// race, either, for it depends on the order of the threads which of them comes second.
//
// All are launched with x and y of 40 elements, n = 40, 64 threads a block and 64 bytes of dynamic shared memory.

#define KERNEL(name) extern "C" __global__ void name(const float* __restrict__ x, float* __restrict__ y, int n)

__constant__ float table[4] = {1, 2, 3, 4};

// ---------------------------------------------------------------------------------------------------------------- out of bounds

KERNEL(past_the_end) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= n) y[i] = 1;  // <-
}

KERNEL(before_the_start) {
    int i = threadIdx.x;
    if (i < n) y[i] = x[i - 1];  // <-
}

KERNEL(far_away) {
    if (threadIdx.x == 0) y[1 << 28] = 1;  // <-
}

KERNEL(past_a_vector) {
    if (threadIdx.x == 0) reinterpret_cast<float4*>(y)[n / 4] = make_float4(0, 0, 0, 0);  // <-
}

KERNEL(past_a_shared_array) {
    __shared__ float tile[64];
    __shared__ float next[64];
    float* p = tile;
    p[threadIdx.x + 1] = 1;  // <-
    next[threadIdx.x] = 2;
}

template <class T>
__device__ T past_an_array_in_a_template(T value) {
    __shared__ T tile[64];
    T* p = tile;
    p[threadIdx.x + 1] = value;  // <- past_a_shared_array_of_a_template
    return value;
}

KERNEL(past_a_shared_array_of_a_template) {
    float last = past_an_array_in_a_template(x[0]);
    if (threadIdx.x == 0) y[0] = last;
}

KERNEL(past_a_row) {
    __shared__ float tile[4][16];
    tile[0][threadIdx.x] = 1;  // <-
}

KERNEL(past_the_dynamic_memory) {
    extern __shared__ float buffer[];
    buffer[threadIdx.x] = 1;  // <-
}

KERNEL(past_a_local_array) {
    float window[4] = {0, 0, 0, 0};
    for (int k = 0; k <= n / 10; ++k) window[k] += x[k];  // <-
    if (threadIdx.x == 0) y[0] = window[0] + window[1] + window[2] + window[3];
}

// ------------------------------------------------------------------------------------------------ misaligned, constant, unwritten

KERNEL(misaligned) {
    float4 four = *reinterpret_cast<const float4*>(x + 1);  // <-
    if (threadIdx.x == 0) y[0] = four.x + four.w;
}

KERNEL(through_const) {
    if (threadIdx.x == 0) const_cast<float*>(x)[3] = 1;  // <-
}

KERNEL(to_a_table) {
    if (threadIdx.x == 0) table[n % 4] = 1;  // <-
    if (threadIdx.x == 0) y[0] = table[n % 3];
}

KERNEL(shared_before_written) {
    __shared__ float tile[64];
    if (threadIdx.x < 32) tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    if (threadIdx.x < n) y[threadIdx.x] = tile[threadIdx.x];  // <-
}

KERNEL(output_before_written) {
    int i = threadIdx.x;
    if (i < n) y[i] += x[i];  // <-
}

// ----------------------------------------------------------------------------------------------------------------- data races

KERNEL(no_barrier_after_writing) {
    __shared__ float tile[64];
    tile[threadIdx.x] = threadIdx.x;  // <-
    if (threadIdx.x < n) y[threadIdx.x] = tile[threadIdx.x ^ 32];  // <- unless nothing was written there yet
}

KERNEL(no_barrier_after_reading) {
    __shared__ float tile[64];
    tile[threadIdx.x] = threadIdx.x;
    __syncthreads();
    float other = tile[63 - threadIdx.x];  // <-
    tile[threadIdx.x] = other;             // <-
}

KERNEL(two_write) {
    y[threadIdx.x / 2 % n] = threadIdx.x;  // <-
}

KERNEL(lost_update) {
    y[0] += 1;  // <-
}

KERNEL(two_blocks_write) {
    if (threadIdx.x == 0) y[0] = blockIdx.x;  // <-
}

KERNEL(two_blocks_read_and_write) {
    float before = y[blockIdx.x];                                              // <-
    if (threadIdx.x == 0) y[(blockIdx.x + 1) % gridDim.x] = before + 1;        // <-
}

KERNEL(atomic_and_plain) {
    atomicAdd(&y[0], 1.0f);                       // <-
    if (threadIdx.x % 32 == 0) y[1 + threadIdx.x / 32] = y[0];  // <-
}

KERNEL(lanes_of_a_warp) {
    __shared__ float tile[64];
    tile[threadIdx.x] = x[0];
    __syncwarp();
    float other = tile[threadIdx.x ^ 1];  // <-
    tile[threadIdx.x] = other;            // <-
}

KERNEL(half_a_warp_met) {
    __shared__ float tile[32];
    int lane = threadIdx.x % 32;
    if (threadIdx.x >= 32) return;
    tile[lane] = x[lane];                              // <-
    __syncwarp(lane < 16 ? 0x0000ffffu : 0xffff0000u);
    y[lane] = tile[lane ^ 16];                         // <- unless nothing was written there yet
}

KERNEL(a_shuffle_orders_nothing) {
    __shared__ float tile[64];
    tile[threadIdx.x] = x[0];
    __syncwarp();
    float other = tile[threadIdx.x ^ 1];                                           // <-
    tile[threadIdx.x] = __shfl_sync(0xffffffffu, other, threadIdx.x);              // <-
}

// ------------------------------------------------------------------------------------------------------------ barriers and warps

KERNEL(half_the_block_waits) {
    if (threadIdx.x < 32) __syncthreads();  // <-
}

KERNEL(two_barriers) {
    if (threadIdx.x < 32)
        __syncthreads();  // <-
    else
        __syncthreads();  // <-
}

KERNEL(half_the_warp_waits) {
    if (threadIdx.x % 32 < 16)
        __syncwarp();  // <-
    else
        __syncthreads();
}

KERNEL(two_operations) {
    if (threadIdx.x % 32 < 16)
        y[0] = __shfl_sync(0xffffffffu, x[0], 0);  // <-
    else
        y[0] = __shfl_sync(0xffffffffu, x[1], 0);  // <-
}

KERNEL(not_in_the_mask) {
    y[threadIdx.x % n] = __shfl_sync(0x0000ffffu, x[0], 0);  // <-
}

KERNEL(from_a_lane_that_left) {
    int i = threadIdx.x;
    if (i >= n) return;
    y[i] = __shfl_down_sync(0xffffffffu, x[i], 16);  // <-
}

KERNEL(from_a_lane_outside_the_mask) {
    if (threadIdx.x < 16) y[threadIdx.x] = __shfl_down_sync(0x0000ffffu, x[threadIdx.x], 1, 32);  // <-
}

KERNEL(a_lock_that_is_never_released) {
    int* lock = reinterpret_cast<int*>(y);
    while (atomicCAS(lock, 0, 1) != 0) {}  // <-
}

// ------------------------------------------------------------------------------------------------------------------ arithmetic

KERNEL(overflow) {
    int many = n * 100000000;  // <-
    if (threadIdx.x == 0) y[0] = many;
}

KERNEL(division_by_zero) {
    if (threadIdx.x == 0) y[0] = 7 / (n - 40);  // <-
}

KERNEL(shift_too_far) {
    if (threadIdx.x == 0) y[0] = 1 << n;  // <-
}

KERNEL(false_assertion) {
    assert(n > 40);  // <-
    y[0] = 1;
}
