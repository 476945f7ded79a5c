// Activations, element by element. Gradients are computed from the output y: the input need not be kept.
//
// Threads walk over the array in grid-stride loops, four floats or two doubles at a time where the arrays are aligned (`map` in
// common.cuh tells why). The arithmetic costs next to nothing beside the reading and writing.

#include "common.cuh"

// eq: act.relu
extern "C" __global__ void relu(const real* x, real* y, index n) {
    map(over_grid(), n, y, [](real x) { return x <= 0 ? real(0) : x; }, x);  // NaN <= 0 is false: NaN stays
}

// eq: act.relu_grad
extern "C" __global__ void relu_grad_x(const real* gy, const real* y, real* gx, index n) {
    map(over_grid(), n, gx, [](real gy, real y) { return y > 0 ? gy : real(0); }, gy, y);
}

// eq: act.sigmoid
extern "C" __global__ void sigmoid(const real* x, real* y, index n) {
    map(over_grid(), n, y, [](real x) { return sigmoid_of(x); }, x);
}

// eq: act.sigmoid_grad
extern "C" __global__ void sigmoid_grad_x(const real* gy, const real* y, real* gx, index n) {
    map(over_grid(), n, gx, [](real gy, real y) { return gy * y * (1 - y); }, gy, y);
}

// eq: act.tanh
extern "C" __global__ void tanh_of(const real* x, real* y, index n) {
    map(over_grid(), n, y, [](real x) { return tanh(x); }, x);
}

// eq: act.tanh_grad
extern "C" __global__ void tanh_grad_x(const real* gy, const real* y, real* gx, index n) {
    map(over_grid(), n, gx, [](real gy, real y) { return gy * (1 - y * y); }, gy, y);
}
