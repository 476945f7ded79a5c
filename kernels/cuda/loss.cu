// Losses, pixel by pixel; the mean is taken above. Logits z (N, K, H, W), labels (N, H, W); L = H W pixels an image.
//
// Cross-entropy: one thread a pixel, which walks over its K classes. Neighbouring threads have neighbouring pixels, so that each
// of their reads is of consecutive addresses. Softmax, loss and, backward, gradient are one kernel each: the probabilities, as
// large as z, are never written to memory. The logits of a pixel are kept in registers if they are few (common.cuh).
//
// Element by element: `map` of common.cuh. Dice: sums over all pixels, in double, in two launches (common.cuh): many blocks sum a
// part each, and then the parts are added up in a fixed order. How the threads of a block add up what they have is the ladder of
// dice_sums:
//
//   shared     folded by halves in shared memory, with a barrier after each of 8 foldings; at the last ones a few threads work
//              and all others wait.
//   shuffles   each warp by shuffles, from register to register, then the 8 warps' sums: two barriers instead of ten. What is
//              gained is latency at a block's end, so it shows where a block has few pixels, and is nothing where it has many.
//
// An ignored pixel counts nothing, whatever its logits are: loss and gradient are 0 there even for NaN or infinity. Labels may be
// any integers; there is a kernel for bytes, which is what label images are made of, and one for 64 bits, to which the host
// converts all others.

#include "common.cuh"

typedef unsigned char byte;

// ------------------------------------------------------------------------------------------------------------ cross-entropy

// The class weight of a label; without weights, 1. (`weight` is then any pointer.)
__device__ inline real class_weight(const real* weight, bool weighted, index label) { return weighted ? weight[label] : real(1); }

// eq: loss.ce
// With z' = z - max z, lse - z_t is log sum exp(z') - z'_t: large logits cost no digits.
template <class Label>
__device__ void cross_entropy(
    const real* z, const Label* target, const real* weight, real* loss, real* lse,
    index pixels, int K, index L, bool weighted, index ignore_index) {
    index i = thread_number();
    if (i >= pixels) return;
    index image = quotient(i, L), t = target[i];
    z += image * K * L + (i - image * L);
    with_row(z, L, K, [=](auto row) {
        real m = maximum_of(row, *z), log_sum = log(sum_exp_of(row, m));
        lse[i] = m + log_sum;
        loss[i] = t == ignore_index ? real(0) : class_weight(weight, weighted, t) * (log_sum - (z[t * L] - m));
    });
}

// eq: loss.ce_grad
template <class Label>
__device__ void cross_entropy_grad_z(
    const real* g, const real* z, const real* lse, const Label* target, const real* weight, real* gz,
    index pixels, int K, index L, bool weighted, index ignore_index) {
    index i = thread_number();
    if (i >= pixels) return;
    index image = quotient(i, L), start = image * K * L + (i - image * L), t = target[i];
    bool ignored = t == ignore_index;
    real factor = ignored ? real(0) : g[i] * class_weight(weight, weighted, t), log_sum = lse[i];
    with_row(z + start, L, K, [=](auto row) {
        row.each([=](int k, real z) { gz[start + k * L] = ignored ? real(0) : factor * (exp(z - log_sum) - (k == t)); });
    });
}

extern "C" __global__ void cross_entropy_bytes(
    const real* z, const byte* target, const real* weight, real* loss, real* lse,
    index pixels, int K, index L, bool weighted, index ignore_index) {
    cross_entropy(z, target, weight, loss, lse, pixels, K, L, weighted, ignore_index);
}

extern "C" __global__ void cross_entropy_integers(
    const real* z, const index* target, const real* weight, real* loss, real* lse,
    index pixels, int K, index L, bool weighted, index ignore_index) {
    cross_entropy(z, target, weight, loss, lse, pixels, K, L, weighted, ignore_index);
}

extern "C" __global__ void cross_entropy_grad_z_bytes(
    const real* g, const real* z, const real* lse, const byte* target, const real* weight, real* gz,
    index pixels, int K, index L, bool weighted, index ignore_index) {
    cross_entropy_grad_z(g, z, lse, target, weight, gz, pixels, K, L, weighted, ignore_index);
}

extern "C" __global__ void cross_entropy_grad_z_integers(
    const real* g, const real* z, const real* lse, const index* target, const real* weight, real* gz,
    index pixels, int K, index L, bool weighted, index ignore_index) {
    cross_entropy_grad_z(g, z, lse, target, weight, gz, pixels, K, L, weighted, ignore_index);
}

// ------------------------------------------------------------------------------------------------------- element by element

// eq: loss.bce_logits
extern "C" __global__ void binary_cross_entropy_with_logits(const real* z, const real* target, real* loss, index n) {
    auto op = [](real z, real target) { return (z <= 0 ? real(0) : z) - z * target + log1p(exp(-fabs(z))); };
    map(over_grid(), n, loss, op, z, target);
}

// eq: loss.bce_logits_grad
extern "C" __global__ void binary_cross_entropy_with_logits_grad_z(
    const real* g, const real* z, const real* target, real* gz, index n) {
    map(over_grid(), n, gz, [](real g, real z, real target) { return g * (sigmoid_of(z) - target); }, g, z, target);
}

// eq: loss.mse
extern "C" __global__ void mse_loss(const real* a, const real* target, real* loss, index n) {
    map(over_grid(), n, loss, [](real a, real target) { return (a - target) * (a - target); }, a, target);
}

// eq: loss.mse_grad
extern "C" __global__ void mse_loss_grad_a(const real* g, const real* a, const real* target, real* ga, index n) {
    map(over_grid(), n, ga, [](real g, real a, real target) { return 2 * g * (a - target); }, g, a, target);
}

// --------------------------------------------------------------------------------------------------------------------- Dice

// The sums of p g, of p and of g.
struct DiceSums {
    double both, all_p, all_g;
};

// eq: loss.dice_sums
// Those of one thread, for class k of an image: plane number blockIdx.x.
template <class Label>
__device__ DiceSums dice_of_thread(const real* p, const Label* target, int K, index L, index first_label, index ignore_index) {
    index image = blockIdx.x / K, k = blockIdx.x % K;
    double both = 0, all_p = 0;
    int all_g = 0;
    auto add = [&](real p, Label t) {
        bool kept = t != ignore_index, member = kept && t == first_label + k;
        double here = kept ? p : real(0);
        both += member ? here : 0;
        all_p += here;
        all_g += member;
    };
    visit(over_plane(), L, add, p + blockIdx.x * L, target + image * L);
    return {both, all_p, (double)all_g};
}

// parts (gridDim.y N, 3, K): the sums of each block.
__device__ inline void store_part(DiceSums sums, double* parts, int K) {
    if (threadIdx.x != 0) return;
    index image = part_number() / K, k = part_number() % K;
    parts += image * 3 * K + k;
    parts[0] = sums.both;
    parts[K] = sums.all_p;
    parts[2 * K] = sums.all_g;
}

extern "C" __global__ void dice_sums_shared_bytes(
    const real* p, const byte* target, double* parts, int K, index L, index first_label, index ignore_index) {
    extern __shared__ double scratch[];
    DiceSums sums = dice_of_thread(p, target, K, L, first_label, ignore_index);
    store_part({folded_sum(sums.both, scratch), folded_sum(sums.all_p, scratch), folded_sum(sums.all_g, scratch)}, parts, K);
}

extern "C" __global__ void dice_sums_shared_integers(
    const real* p, const index* target, double* parts, int K, index L, index first_label, index ignore_index) {
    extern __shared__ double scratch[];
    DiceSums sums = dice_of_thread(p, target, K, L, first_label, ignore_index);
    store_part({folded_sum(sums.both, scratch), folded_sum(sums.all_p, scratch), folded_sum(sums.all_g, scratch)}, parts, K);
}

extern "C" __global__ void dice_sums_shuffles_bytes(
    const real* p, const byte* target, double* parts, int K, index L, index first_label, index ignore_index) {
    extern __shared__ double scratch[];
    DiceSums sums = dice_of_thread(p, target, K, L, first_label, ignore_index);
    store_part({block_sum(sums.both, scratch), block_sum(sums.all_p, scratch), block_sum(sums.all_g, scratch)}, parts, K);
}

extern "C" __global__ void dice_sums_shuffles_integers(
    const real* p, const index* target, double* parts, int K, index L, index first_label, index ignore_index) {
    extern __shared__ double scratch[];
    DiceSums sums = dice_of_thread(p, target, K, L, first_label, ignore_index);
    store_part({block_sum(sums.both, scratch), block_sum(sums.all_p, scratch), block_sum(sums.all_g, scratch)}, parts, K);
}

// The second launch.
extern "C" __global__ void add_parts(const double* parts, real* total, index count, int sums) {
    add_up(parts, total, count, sums);
}

// eq: loss.dice_sums_grad
// The third sum does not depend on p, so g[2] plays no part. Class k of an image is plane number blockIdx.x.
template <class Label>
__device__ void dice_sums_grad_p(
    const real* g, const Label* target, real* gp, int K, index L, index first_label, index ignore_index) {
    index image = blockIdx.x / K, k = blockIdx.x % K;
    real inside = g[k] + g[K + k], outside = g[K + k];
    auto op = [=](Label t) { return t == ignore_index ? real(0) : t == first_label + k ? inside : outside; };
    map(over_plane(), L, gp + blockIdx.x * L, op, target + image * L);
}

extern "C" __global__ void dice_sums_grad_p_bytes(
    const real* g, const byte* target, real* gp, int K, index L, index first_label, index ignore_index) {
    dice_sums_grad_p(g, target, gp, K, L, first_label, ignore_index);
}

extern "C" __global__ void dice_sums_grad_p_integers(
    const real* g, const index* target, real* gp, int K, index L, index first_label, index ignore_index) {
    dice_sums_grad_p(g, target, gp, K, L, first_label, ignore_index);
}
