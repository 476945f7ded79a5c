// What every .cu file here begins with: the type `real`, indices that do not overflow, loops over arrays, sums over blocks and over
// channels, and what a thread keeps in registers: one pixel of several planes, or a row.
//
// A .cu file is compiled once for each dtype, with -DREAL=float or -DREAL=double. NVRTC compiles it on a GPU and finds no system
// header, so there is no INFINITY, FLT_MAX or int64_t here.
#pragma once

typedef REAL real;
typedef long long index;  // 64 bits: arrays of more than 2^31 elements are indexed like any other

const int WARP = 32;
const unsigned ALL_LANES = 0xffffffffu;

// ------------------------------------------------------------------------------------------------------------------ indices

// This thread's number among all threads of a one-dimensional launch.
__device__ inline index thread_number() { return (index)blockIdx.x * blockDim.x + threadIdx.x; }

__device__ inline index thread_count() { return (index)gridDim.x * blockDim.x; }

// floor(a / b) for a >= 0, b > 0. A GPU divides 64-bit numbers by a routine of about a hundred instructions; most fit in 32 bits.
__device__ inline index quotient(index a, index b) {
    if (((a | b) >> 32) == 0) return (unsigned)a / (unsigned)b;
    return a / b;
}

// Take the last coordinate off a flat index: returns i mod size and leaves floor(i / size) in i.
__device__ inline int take(index& i, int size) {
    index rest = quotient(i, size);
    int coordinate = (int)(i - rest * size);
    i = rest;
    return coordinate;
}

// Which pixel of which plane a flat index of (planes, rows, columns) is.
struct Place {
    index plane;
    int row, column;
};

__device__ inline Place place_of(index i, int rows, int columns) {
    int column = take(i, columns);
    int row = take(i, rows);
    return {i, row, column};
}

// ------------------------------------------------------------------------------------------------------- element by element
// y[i] = op(x[i], ...) for all i. Memory bounds such kernels, so all that counts is how it is read:
//
//   one thread, one element    neighbouring threads read neighbouring addresses, and a warp's 32 reads become few wide ones.
//   grid-stride                a fixed number of threads walks over the array, each in steps of the whole grid. Any n fits any
//                              grid, and what a thread computes once (its indices, a channel's factor) serves many elements.
//   packs                      four floats or two doubles travel in one 16-byte load, a quarter of the instructions for the same
//                              bytes. Only where every array begins at a multiple of 16 bytes; the rest goes one by one.

const int PACK_BYTES = 16;
const int PACK = PACK_BYTES / sizeof(real);

// As many values of another type (labels) as a pack has numbers: bytes then take 4 bytes or 2.
template <class T>
constexpr int PACK_ALIGNMENT = PACK * sizeof(T) < PACK_BYTES ? PACK * sizeof(T) : PACK_BYTES;

template <class T>
struct alignas(PACK_ALIGNMENT<T>) PackOf {
    T value[PACK];
};

typedef PackOf<real> Pack;  // float4 or double2, whichever `real` makes it

template <class T>
__device__ const PackOf<T>* packs(const T* array) { return reinterpret_cast<const PackOf<T>*>(array); }

__device__ inline Pack* packs(real* array) { return reinterpret_cast<Pack*>(array); }

// Whether all arrays begin where a pack may.
template <class... T>
__device__ bool aligned(const T*... arrays) {
    return ((reinterpret_cast<unsigned long long>(arrays) % PACK_ALIGNMENT<T>) | ...) == 0;
}

// Which elements a thread takes: first, first + step, first + 2 step, ...
struct Walk {
    index first, step;
};

__device__ inline Walk over_grid() { return {thread_number(), thread_count()}; }

template <class Op, class... Packs>
__device__ Pack apply(Op op, Packs... x) {
    Pack y;
    for (int j = 0; j < PACK; ++j) y.value[j] = op(x.value[j]...);
    return y;
}

template <class Op, class... Inputs>
__device__ void map(Walk walk, index n, real* y, Op op, const Inputs*... x) {
    index wide = aligned(y, x...) ? n / PACK : 0;
    for (index i = walk.first; i < wide; i += walk.step) packs(y)[i] = apply(op, packs(x)[i]...);
    for (index i = wide * PACK + walk.first; i < n; i += walk.step) y[i] = op(x[i]...);
}

// Several packs, `step` apart: they are all asked for before anybody waits for the first. It takes some 40 KB of loads under way a
// multiprocessor to keep a large GPU's memory busy.
const int AHEAD = 4;

template <class T>
struct PacksAhead {
    PackOf<T> pack[AHEAD];
    __device__ PacksAhead(const PackOf<T>* from, index step) {
        for (int a = 0; a < AHEAD; ++a) pack[a] = from[a * step];
    }
};

template <class Op, class... Packs>
__device__ void hand_in(Op& op, Packs... x) {
    for (int j = 0; j < PACK; ++j) op(x.value[j]...);
}

// op(x[i], ...) for the same i, to be added up by op.
template <class Op, class... T>
__device__ void visit(Walk walk, index n, Op op, const T*... x) {
    index wide = aligned(x...) ? n / PACK : 0, i = walk.first;
    auto hand_in_all = [&](const PacksAhead<T>&... x) {
        for (int a = 0; a < AHEAD; ++a) hand_in(op, x.pack[a]...);
    };
    for (; i + (AHEAD - 1) * walk.step < wide; i += AHEAD * walk.step) hand_in_all({packs(x) + i, walk.step}...);
    for (; i < wide; i += walk.step) hand_in(op, packs(x)[i]...);
    for (i = wide * PACK + walk.first; i < n; i += walk.step) op(x[i]...);
}

// 1 / (1 + exp(-x)); for x < 0 the fraction is extended by exp(x), so that exp never overflows.
__device__ inline real sigmoid_of(real x) {
    real e = exp(-fabs(x));
    return (x < 0 ? e : real(1)) / (1 + e);
}

// --------------------------------------------------------------------------------------------------------------------- sums
// Every thread of a warp or a block hands in a value and gets the sum of all. The order of the additions is fixed: the same bits
// every time, which atomicAdd, where whoever comes first is added first, cannot promise.

// The sum over a warp, by shuffles: in five steps each lane adds the value of the lane whose number differs in one bit. Lanes
// read each other's registers, without memory and without a barrier.
template <class T>
__device__ T warp_sum(T value) {
    for (int bit = WARP / 2; bit > 0; bit /= 2) value += __shfl_xor_sync(ALL_LANES, value, bit);
    return value;
}

template <class T>
__device__ T warp_max(T value) {
    for (int bit = WARP / 2; bit > 0; bit /= 2) {
        T other = __shfl_xor_sync(ALL_LANES, value, bit);
        value = other > value ? other : value;
    }
    return value;
}

// All the threads' values folded into one by op(a, b), to all of them: the second half of the threads' values onto the first
// half, the second quarter onto the first, and so on, with a barrier after each step. `scratch`, in shared memory, has one value
// for each thread; blockDim.x is a power of two.
template <class T, class Op>
__device__ T folded(T value, T* scratch, Op op) {
    int rank = threadIdx.x;
    scratch[rank] = value;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (rank < half) scratch[rank] = op(scratch[rank], scratch[rank + half]);
        __syncthreads();
    }
    T result = scratch[0];
    __syncthreads();  // nobody writes the next value before all have read this one
    return result;
}

// The sum over a block by folding by halves, in shared memory with one value for each of a power of two of threads.
template <class T>
__device__ T folded_sum(T value, T* scratch) {
    return folded(value, scratch, [](T a, T b) { return a + b; });
}

// The sum over a block, to all its threads. First over each warp, then over the warps' sums, which meet in `scratch` (one value
// for each warp): two barriers, where folding by halves in shared memory needs one for each of its log2(256) = 8 steps.
template <class T>
__device__ T block_sum(T value, T* scratch) {
    int lane = threadIdx.x % WARP, warps = blockDim.x / WARP;
    value = warp_sum(value);
    if (lane == 0) scratch[threadIdx.x / WARP] = value;
    __syncthreads();
    value = warp_sum(lane < warps ? scratch[lane] : T(0));
    __syncthreads();  // nobody writes the next sums before all have read these
    return value;
}

// ---------------------------------------------------------------------------------------------------- sums over channels
// A sum over a channel's pixels takes two launches. In the first, the blocks (plane, 0), (plane, 1), ... share each plane (n, c)
// of x (N, C, ...), and each block writes what it found: its part. There are many planes, so a GPU is full; and a block never
// leaves its plane, so nobody divides to find out where a pixel lies. In the second, a warp a channel adds up the parts, in double
// and in a fixed order. (One block a channel, of which there were 16, read 44 GB/s on an H200, which copies 3900.)

// Which pixels of plane blockIdx.x a thread takes.
__device__ inline Walk over_plane() {
    return {(index)blockIdx.y * blockDim.x + threadIdx.x, (index)gridDim.y * blockDim.x};
}

// The parts of plane number p are numbers p, p + planes, p + 2 planes, ...: those of channel c are c, c + C, c + 2 C, ...
__device__ inline index part_number() { return (index)blockIdx.y * gridDim.x + blockIdx.x; }

// The sum of count numbers, `step` apart, to the warp that calls it.
__device__ inline double sum_of_parts(const double* parts, index count, index step) {
    double sum = 0;
#pragma unroll 4
    for (index k = threadIdx.x % WARP; k < count; k += WARP) sum += parts[k * step];
    return warp_sum(sum);
}

// The second launch, where a part is one number: parts (count, sums), total (sums,).
__device__ inline void add_up(const double* parts, real* total, index count, int sums) {
    int s = (int)(thread_number() / WARP);
    if (s >= sums) return;
    double sum = sum_of_parts(parts + s, count, sums);
    if (threadIdx.x % WARP == 0) total[s] = (real)sum;
}

// ------------------------------------------------------------------------------------------------------- sums of many numbers
// Where each of several blocks has a part of many sums. A block has 32 neighbouring sums; thread (k, s) adds the parts s, s + 8,
// s + 16 ... of sum k, then the eight are added in order.

const int SHARERS = 8;

__device__ inline void add_side_by_side(const real* parts, real* total, index count, int number) {
    __shared__ real shares[SHARERS][WARP];
    index k = (index)WARP * blockIdx.x + threadIdx.x;
    real sum = 0;
    if (k < count)
        for (int part = threadIdx.y; part < number; part += SHARERS) sum += parts[part * count + k];
    shares[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && k < count) {
        for (int s = 1; s < SHARERS; ++s) sum += shares[s][threadIdx.x];
        total[k] = sum;
    }
}

// ------------------------------------------------------------------------------------------------- one pixel, several planes
// Where the pixels lie that an output is made of takes divisions to work out, more than the arithmetic that follows; but it is the
// same in every plane. So a thread has one pixel, and that in PLANES planes: what it worked out serves all of them, and it asks for
// a number of each before it waits for the first. (A thread for each pixel of each plane resized at 14 to 42 % of the rate
// at which an H200 copies.)

const int PLANES = 8;

// The planes of a block: blockIdx.x says which. There may be fewer than PLANES; then the last one is read again, and written once.
struct Planes {
    index first;
    int count;
    __device__ explicit Planes(index planes)
        : first((index)PLANES * blockIdx.x), count((int)min((index)PLANES, planes - (index)PLANES * blockIdx.x)) {}
};

// What a thread has of its pixel: a number for each plane.
template <class T>
struct InPlanes {
    T value[PLANES];

    // What is at `from` in the first of all planes, and lies `step` further on in each one that follows.
    __device__ void load(const Planes& planes, const T* from, index step) {
        from += planes.first * step;
#pragma unroll
        for (int p = 0; p < PLANES; ++p) {
            value[p] = *from;
            if (p + 1 < planes.count) from += step;
        }
    }

    // The same, times `share`, added up. All numbers are asked for before the first addition waits for one.
    __device__ void add(const Planes& planes, T share, const T* from, index step) {
        InPlanes more;
        more.load(planes, from, step);
#pragma unroll
        for (int p = 0; p < PLANES; ++p) value[p] += share * more.value[p];
    }

    // out (planes, pixels), at this pixel
    __device__ void store(T* out, const Planes& planes, index pixels, index pixel) const {
        out += planes.first * pixels + pixel;
#pragma unroll
        for (int p = 0; p < PLANES; ++p, out += pixels)
            if (p < planes.count) *out = value[p];
    }
};

// ------------------------------------------------------------------------------------------------------- rows in registers
// A row of K values `step` apart, such as a pixel's classes, that its thread goes through several times: in registers if there are
// at most KEPT. It is read once, and all its reads are under way at once. Registers have no addresses, so loops over them are
// unrolled, to a fixed N; what is not there is -inf, which changes no maximum and no sum of exponentials, so nobody has to ask.

const int KEPT = 16;

template <int N>
struct Registers {
    real value[N];
    int K;
    __device__ Registers(const real* row, index step, int K) : K(K) {
#pragma unroll
        for (int k = 0; k < N; ++k, row += step) value[k] = k < K ? *row : log(real(0));
    }

    // f(value) for all values
    template <class F>
    __device__ void fold(F f) {
#pragma unroll
        for (int k = 0; k < N; ++k) f(value[k]);
    }

    // f(k, value) for k < K
    template <class F>
    __device__ void each(F f) const {
#pragma unroll
        for (int k = 0; k < N; ++k)
            if (k < K) f(k, value[k]);
    }
};

// A row where it lies.
struct Memory {
    const real* row;
    index step;
    int K;
    template <class F>
    __device__ void fold(F f) const {
        for (int k = 0; k < K; ++k) f(row[k * step]);
    }
    template <class F>
    __device__ void each(F f) const {
        for (int k = 0; k < K; ++k) f(k, row[k * step]);
    }
};

// f(the row), a row of up to KEPT values, in as few registers as it fits.
template <class F>
__device__ void in_registers(const real* row, index step, int K, F f) {
    if (K <= KEPT / 4)
        f(Registers<KEPT / 4>(row, step, K));
    else if (K <= KEPT / 2)
        f(Registers<KEPT / 2>(row, step, K));
    else
        f(Registers<KEPT>(row, step, K));
}

// f(the row), however long it is.
template <class F>
__device__ void with_row(const real* row, index step, int K, F f) {
    if (K <= KEPT)
        in_registers(row, step, K, f);
    else
        f(Memory{row, step, K});
}

// `first` is one of the row's values. A NaN is no maximum unless it is that; exp(x - max) hands it on either way.
template <class Row>
__device__ real maximum_of(Row& row, real first) {
    real m = first;
    row.fold([&](real value) { m = value > m ? value : m; });
    return m;
}

// The sum of exp(x - m).
template <class Row>
__device__ real sum_exp_of(Row& row, real m) {
    real sum = 0;
    row.fold([&](real value) { sum += exp(value - m); });
    return sum;
}
