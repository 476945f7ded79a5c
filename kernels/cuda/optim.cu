// Optimiser updates: new arrays for the parameter and its state, from the gradient.
//
// Written as array operations, Adam would be a dozen launches, each reading and writing whole arrays. Here it is one: a thread
// reads an element of p, g, m and v, does all of the update in registers, and writes p, m and v. Of the traffic of a dozen passes
// the seven unavoidable streams remain. Threads walk in grid-stride loops and move packs of 16 bytes where all arrays are
// aligned.

#include "common.cuh"

// A quantity that the update renews: where its values are, and where the new ones go.
struct State {
    const real* before;
    real* after;
};

// step(g, p, v) for every element: it changes p and v, which are copies, and they go to the new arrays.
template <class Step>
__device__ void renew(Walk walk, index n, Step step, const real* g, State p, State v) {
    index wide = aligned(g, p.before, p.after, v.before, v.after) ? n / PACK : 0;
    for (index i = walk.first; i < wide; i += walk.step) {
        Pack g_now = packs(g)[i], p_now = packs(p.before)[i], v_now = packs(v.before)[i];
        for (int j = 0; j < PACK; ++j) step(g_now.value[j], p_now.value[j], v_now.value[j]);
        packs(p.after)[i] = p_now;
        packs(v.after)[i] = v_now;
    }
    for (index i = wide * PACK + walk.first; i < n; i += walk.step) {
        real p_now = p.before[i], v_now = v.before[i];
        step(g[i], p_now, v_now);
        p.after[i] = p_now;
        v.after[i] = v_now;
    }
}

// step(g, p, m, v): the same with two states beside the parameter.
template <class Step>
__device__ void renew(Walk walk, index n, Step step, const real* g, State p, State m, State v) {
    index wide = aligned(g, p.before, p.after, m.before, m.after, v.before, v.after) ? n / PACK : 0;
    for (index i = walk.first; i < wide; i += walk.step) {
        Pack g_now = packs(g)[i], p_now = packs(p.before)[i], m_now = packs(m.before)[i], v_now = packs(v.before)[i];
        for (int j = 0; j < PACK; ++j) step(g_now.value[j], p_now.value[j], m_now.value[j], v_now.value[j]);
        packs(p.after)[i] = p_now;
        packs(m.after)[i] = m_now;
        packs(v.after)[i] = v_now;
    }
    for (index i = wide * PACK + walk.first; i < n; i += walk.step) {
        real p_now = p.before[i], m_now = m.before[i], v_now = v.before[i];
        step(g[i], p_now, m_now, v_now);
        p.after[i] = p_now;
        m.after[i] = m_now;
        v.after[i] = v_now;
    }
}

// eq: opt.momentum_v
extern "C" __global__ void sgd_update(
    const real* p, const real* g, const real* v, real* new_p, real* new_v, index n,
    real lr, real momentum, real rest, real weight_decay, bool nesterov) {
    auto step = [=](real g, real& p, real& v) {
        g += weight_decay * p;
        v = momentum * v + rest * g;
        p -= lr * (nesterov ? g + momentum * v : v);
    };
    renew(over_grid(), n, step, g, {p, new_p}, {v, new_v});
}

// eq: opt.rmsprop
extern "C" __global__ void rmsprop_update(
    const real* p, const real* g, const real* v, real* new_p, real* new_v, index n,
    real lr, real alpha, real rest, real eps, real weight_decay) {
    auto step = [=](real g, real& p, real& v) {
        g += weight_decay * p;
        v = alpha * v + rest * (g * g);  // eq: opt.rmsprop_v
        p -= lr * g / (sqrt(v) + eps);
    };
    renew(over_grid(), n, step, g, {p, new_p}, {v, new_v});
}

// eq: opt.adam. `rate` is lr over the first average's correction; `correction` is the second's.
extern "C" __global__ void adam_update(
    const real* p, const real* g, const real* m, const real* v, real* new_p, real* new_m, real* new_v, index n,
    real rate, real beta1, real rest1, real beta2, real rest2, real correction, real eps, real weight_decay) {
    auto step = [=](real g, real& p, real& m, real& v) {
        g += weight_decay * p;
        m = beta1 * m + rest1 * g;
        v = beta2 * v + rest2 * (g * g);
        p -= rate * m / (sqrt(v / correction) + eps);
    };
    renew(over_grid(), n, step, g, {p, new_p}, {m, new_m}, {v, new_v});
}
