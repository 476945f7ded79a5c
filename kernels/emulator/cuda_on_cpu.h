// CUDA's names for g++: with this header in front, a .cu file is a C++ file, unchanged.
//
// It includes nothing, on purpose: what NVRTC does not know (INFINITY, FLT_MAX, int64_t, M_PI ...), g++ does not know here
// either. The functions declared extern "C" stand in scheduler.cpp and checker.cpp. __global__ and __shared__ are not macros:
// build.py needs to see them, and takes them out after preprocessing.
#pragma once

#define __CUDACC_RTC__ 1
#define __CUDA_ARCH__ 750
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __align__(bytes) alignas(bytes)

typedef __SIZE_TYPE__ size_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;

// ------------------------------------------------------------------------------------------------------------ vector types

struct uint3 { unsigned x, y, z; };
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

// CUDA aligns pairs and fours as a whole, up to 16 bytes, so that one instruction can load them; threes are not aligned.
#define EMULATOR_VECTORS(T, name)                                                                       \
    struct alignas(2 * sizeof(T)) name##2 { T x, y; };                                                  \
    struct alignas(4 * sizeof(T) < 16 ? 4 * sizeof(T) : 16) name##4 { T x, y, z, w; };                  \
    static inline name##2 make_##name##2(T x, T y) { return {x, y}; }                                   \
    static inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMULATOR_VECTORS(float, float)
EMULATOR_VECTORS(double, double)
EMULATOR_VECTORS(int, int)
EMULATOR_VECTORS(unsigned, uint)
EMULATOR_VECTORS(unsigned char, uchar)
EMULATOR_VECTORS(short, short)
EMULATOR_VECTORS(long long, longlong)
struct float3 { float x, y, z; };
struct double3 { double x, y, z; };
struct int3 { int x, y, z; };
static inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
static inline double3 make_double3(double x, double y, double z) { return {x, y, z}; }
static inline int3 make_int3(int x, int y, int z) { return {x, y, z}; }

// ------------------------------------------------------------------------------------------------- where a thread is, barriers

extern "C" {
extern const uint3 threadIdx, blockIdx;  // const: they do not change during the life of one CUDA thread
extern const uint3 blockDim, gridDim;
int printf(const char* format, ...);

char* emulator_dynamic_shared();
unsigned emulator_lane();
void emulator_block_barrier(const char* file, int line);
void emulator_warp_barrier(unsigned mask, const char* file, int line);
unsigned emulator_ballot(unsigned mask, bool vote, const char* file, int line);
void emulator_shuffle(unsigned mask, void* value, unsigned size, int source_lane, const char* file, int line);
void emulator_before_atomic(void* address, unsigned size, void* return_address);
void emulator_assertion_failed(const char* condition, const char* file, int line);
}
static const int warpSize = 32;

#define assert(condition) ((condition) ? (void)0 : emulator_assertion_failed(#condition, __FILE__, __LINE__))

// A default argument with __builtin_LINE() is the line of the caller: every report can say where.
#define EMULATOR_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

static inline void __syncthreads(EMULATOR_HERE) { emulator_block_barrier(file, line); }
static inline void __syncwarp(unsigned mask = 0xffffffffu, EMULATOR_HERE) { emulator_warp_barrier(mask, file, line); }
static inline void __threadfence() {}
static inline void __threadfence_block() {}

static inline unsigned __ballot_sync(unsigned mask, int vote, EMULATOR_HERE) {
    return emulator_ballot(mask, vote != 0, file, line);
}
static inline int __any_sync(unsigned mask, int vote, EMULATOR_HERE) {
    return emulator_ballot(mask, vote != 0, file, line) != 0;
}
static inline int __all_sync(unsigned mask, int vote, EMULATOR_HERE) {
    return emulator_ballot(mask, vote == 0, file, line) == 0;
}

// Shuffles work inside groups of `width` lanes; a lane whose source would lie outside its group keeps its own value.
template <class T>
static inline T emulator_shuffled(unsigned mask, T value, int source_lane, const char* file, int line) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a shuffle moves 4 or 8 bytes");
    emulator_shuffle(mask, &value, sizeof(T), source_lane, file, line);
    return value;
}
template <class T>
static inline T __shfl_sync(unsigned mask, T value, int source, int width = 32, EMULATOR_HERE) {
    int first = (int)emulator_lane() & ~(width - 1);
    return emulator_shuffled(mask, value, first | (source & (width - 1)), file, line);
}
template <class T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATOR_HERE) {
    int lane = (int)emulator_lane(), end = (lane & ~(width - 1)) + width, source = lane + (int)delta;
    return emulator_shuffled(mask, value, source < end ? source : lane, file, line);
}
template <class T>
static inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATOR_HERE) {
    int lane = (int)emulator_lane(), first = lane & ~(width - 1), source = lane - (int)delta;
    return emulator_shuffled(mask, value, source >= first ? source : lane, file, line);
}
template <class T>
static inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, EMULATOR_HERE) {
    int lane = (int)emulator_lane(), end = (lane & ~(width - 1)) + width, source = lane ^ lanes;
    return emulator_shuffled(mask, value, source < end ? source : lane, file, line);
}

// ----------------------------------------------------------------------------------------------------------------- atomics

// CUDA's overloads for sm_60 and later, and no more. One thread runs at a time, so plain loads and stores are atomic; the checker
// must not take them for that, hence no_sanitize, and noinline for the address of the caller.
#define EMULATOR_ATOMIC(name, T, new_value)                                                             \
    __attribute__((noinline, unused, no_sanitize("thread"))) static T name(T* address, T value) {       \
        emulator_before_atomic(address, sizeof(T), __builtin_return_address(0));                        \
        T old = *address;                                                                               \
        *address = new_value;                                                                           \
        return old;                                                                                     \
    }
#define EMULATOR_COMPARE_AND_SWAP(T)                                                                    \
    __attribute__((noinline, unused, no_sanitize("thread"))) static T atomicCAS(T* address, T expected, T value) { \
        emulator_before_atomic(address, sizeof(T), __builtin_return_address(0));                        \
        T old = *address;                                                                               \
        if (old == expected) *address = value;                                                          \
        return old;                                                                                     \
    }
#define EMULATOR_ATOMICS_OF_WHOLE_NUMBERS(T)                                                            \
    EMULATOR_ATOMIC(atomicMin, T, value < old ? value : old)                                            \
    EMULATOR_ATOMIC(atomicMax, T, old < value ? value : old)                                            \
    EMULATOR_ATOMIC(atomicExch, T, value)                                                               \
    EMULATOR_ATOMIC(atomicAnd, T, old & value)                                                          \
    EMULATOR_ATOMIC(atomicOr, T, old | value)                                                           \
    EMULATOR_ATOMIC(atomicXor, T, old ^ value)                                                          \
    EMULATOR_COMPARE_AND_SWAP(T)
EMULATOR_ATOMICS_OF_WHOLE_NUMBERS(int)
EMULATOR_ATOMICS_OF_WHOLE_NUMBERS(unsigned)
EMULATOR_ATOMICS_OF_WHOLE_NUMBERS(unsigned long long)
EMULATOR_ATOMIC(atomicMin, long long, value < old ? value : old)
EMULATOR_ATOMIC(atomicMax, long long, old < value ? value : old)
EMULATOR_ATOMIC(atomicAdd, int, (int)((unsigned)old + (unsigned)value))
EMULATOR_ATOMIC(atomicAdd, unsigned, old + value)
EMULATOR_ATOMIC(atomicAdd, unsigned long long, old + value)
EMULATOR_ATOMIC(atomicAdd, float, old + value)
EMULATOR_ATOMIC(atomicAdd, double, old + value)
EMULATOR_ATOMIC(atomicSub, int, (int)((unsigned)old - (unsigned)value))
EMULATOR_ATOMIC(atomicSub, unsigned, old - value)
EMULATOR_ATOMIC(atomicExch, float, value)

// ------------------------------------------------------------------------------------------------------------- mathematics

// Each function for double, for float under its C name (expf) and, as in CUDA C++, for float under the plain name.
#define EMULATOR_FUNCTION_1(name)                                                                       \
    static inline double name(double x) { return __builtin_##name(x); }                                 \
    static inline float name##f(float x) { return __builtin_##name##f(x); }                             \
    static inline float name(float x) { return __builtin_##name##f(x); }
#define EMULATOR_FUNCTION_2(name)                                                                       \
    static inline double name(double x, double y) { return __builtin_##name(x, y); }                    \
    static inline float name##f(float x, float y) { return __builtin_##name##f(x, y); }                 \
    static inline float name(float x, float y) { return __builtin_##name##f(x, y); }                    \
    double name(float, double) = delete; /* NVRTC refuses to choose */                                  \
    double name(double, float) = delete;
EMULATOR_FUNCTION_1(sqrt)
EMULATOR_FUNCTION_1(cbrt)
EMULATOR_FUNCTION_1(exp)
EMULATOR_FUNCTION_1(exp2)
EMULATOR_FUNCTION_1(expm1)
EMULATOR_FUNCTION_1(log)
EMULATOR_FUNCTION_1(log2)
EMULATOR_FUNCTION_1(log10)
EMULATOR_FUNCTION_1(log1p)
EMULATOR_FUNCTION_1(sin)
EMULATOR_FUNCTION_1(cos)
EMULATOR_FUNCTION_1(tan)
EMULATOR_FUNCTION_1(asin)
EMULATOR_FUNCTION_1(acos)
EMULATOR_FUNCTION_1(atan)
EMULATOR_FUNCTION_1(sinh)
EMULATOR_FUNCTION_1(cosh)
EMULATOR_FUNCTION_1(tanh)
EMULATOR_FUNCTION_1(erf)
EMULATOR_FUNCTION_1(erfc)
EMULATOR_FUNCTION_1(floor)
EMULATOR_FUNCTION_1(ceil)
EMULATOR_FUNCTION_1(trunc)
EMULATOR_FUNCTION_1(round)
EMULATOR_FUNCTION_1(rint)
EMULATOR_FUNCTION_1(nearbyint)
EMULATOR_FUNCTION_1(fabs)
EMULATOR_FUNCTION_1(lgamma)
EMULATOR_FUNCTION_1(tgamma)
EMULATOR_FUNCTION_2(pow)
EMULATOR_FUNCTION_2(fmod)
EMULATOR_FUNCTION_2(fmin)
EMULATOR_FUNCTION_2(fmax)
EMULATOR_FUNCTION_2(atan2)
EMULATOR_FUNCTION_2(hypot)
EMULATOR_FUNCTION_2(copysign)
EMULATOR_FUNCTION_2(fdim)
static inline double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
static inline float fmaf(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static inline double rsqrt(double x) { return 1.0 / __builtin_sqrt(x); }
static inline float rsqrtf(float x) { return 1.0f / __builtin_sqrtf(x); }
static inline float rsqrt(float x) { return rsqrtf(x); }
static inline bool signbit(float x) { return __builtin_signbit(x); }
static inline bool signbit(double x) { return __builtin_signbit(x); }
static inline bool isnan(float x) { return __builtin_isnan(x); }
static inline bool isnan(double x) { return __builtin_isnan(x); }
static inline bool isinf(float x) { return __builtin_isinf(x); }
static inline bool isinf(double x) { return __builtin_isinf(x); }
static inline bool isfinite(float x) { return __builtin_isfinite(x); }
static inline bool isfinite(double x) { return __builtin_isfinite(x); }

static inline int abs(int x) { return __builtin_abs(x); }
static inline long long abs(long long x) { return __builtin_llabs(x); }
static inline float abs(float x) { return __builtin_fabsf(x); }
static inline double abs(double x) { return __builtin_fabs(x); }

#define EMULATOR_MIN_MAX(T)                                                                             \
    static inline T min(T a, T b) { return b < a ? b : a; }                                             \
    static inline T max(T a, T b) { return a < b ? b : a; }
EMULATOR_MIN_MAX(int)
EMULATOR_MIN_MAX(unsigned)
EMULATOR_MIN_MAX(long)
EMULATOR_MIN_MAX(unsigned long)
EMULATOR_MIN_MAX(long long)
EMULATOR_MIN_MAX(unsigned long long)
static inline unsigned min(int a, unsigned b) { return min((unsigned)a, b); }
static inline unsigned min(unsigned a, int b) { return min(a, (unsigned)b); }
static inline unsigned max(int a, unsigned b) { return max((unsigned)a, b); }
static inline unsigned max(unsigned a, int b) { return max(a, (unsigned)b); }
static inline float min(float a, float b) { return __builtin_fminf(a, b); }  // of a number and NaN, the number
static inline float max(float a, float b) { return __builtin_fmaxf(a, b); }
static inline double min(double a, double b) { return __builtin_fmin(a, b); }
static inline double max(double a, double b) { return __builtin_fmax(a, b); }

// The hardware's quick versions are less exact on a GPU; here they are the exact ones.
static inline float __expf(float x) { return expf(x); }
static inline float __logf(float x) { return logf(x); }
static inline float __powf(float x, float y) { return powf(x, y); }
static inline float __sinf(float x) { return sinf(x); }
static inline float __cosf(float x) { return cosf(x); }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __frcp_rn(float x) { return 1.0f / x; }
static inline float __fsqrt_rn(float x) { return sqrtf(x); }
static inline int __float2int_rn(float x) { return (int)rintf(x); }
static inline int __float2int_rd(float x) { return (int)floorf(x); }
static inline int __float2int_rz(float x) { return (int)x; }
static inline float __int2float_rn(int x) { return (float)x; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __saturatef(float x) { return fminf(fmaxf(x, 0.0f), 1.0f); }

template <class To, class From>
static inline To emulator_bits(From value) {
    To bits;
    __builtin_memcpy(&bits, &value, sizeof(To));
    return bits;
}
static inline int __float_as_int(float x) { return emulator_bits<int>(x); }
static inline unsigned __float_as_uint(float x) { return emulator_bits<unsigned>(x); }
static inline float __int_as_float(int x) { return emulator_bits<float>(x); }
static inline float __uint_as_float(unsigned x) { return emulator_bits<float>(x); }
static inline long long __double_as_longlong(double x) { return emulator_bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return emulator_bits<double>(x); }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
#define __ldg(address) (*(address))  // a macro, so that a report points to the kernel's line

// ------------------------------------------------------------------------------------------------------ how a kernel is called

namespace emulator {
// The types of a kernel's parameters as text, "... [with T = {const float*, float*, int}]": launch.py reads it.
template <class... T>
const char* signature(void (*)(T...)) {
    return __PRETTY_FUNCTION__;
}

template <int... i> struct Positions {};

// no_sanitize: these read what launch.py laid out, not the kernel's memory.
template <class... T, int... i>
__attribute__((no_sanitize("thread"))) void call_with(void (*kernel)(T...), void** values, Positions<i...>) {
    kernel(*reinterpret_cast<T*>(values[i])...);
}

// Call the kernel with the values that the pointers point to.
template <class... T>
__attribute__((no_sanitize("thread"))) void call(void (*kernel)(T...), void** values) {
    call_with(kernel, values, Positions<__integer_pack(int(sizeof...(T)))...>());
}
// __launch_bounds__ may name the fewest blocks as well; the first number is what a launch must keep to.
constexpr int first(int most_threads, int = 0) { return most_threads; }
}  // namespace emulator

// g++ knows more ways to say infinity than NVRTC does.
#pragma GCC poison __builtin_inf __builtin_inff __builtin_huge_val __builtin_huge_valf __builtin_nan __builtin_nanf
#pragma GCC poison __FLT_MAX__ __FLT_MIN__ __FLT_EPSILON__ __DBL_MAX__ __DBL_MIN__ __DBL_EPSILON__ __INT_MAX__ __LONG_MAX__

// The .cu file follows, inside a namespace without a name: shared arrays in templates then belong to this library alone.
// build.py closes it.
namespace {
