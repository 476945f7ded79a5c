// Pooling. x is (N C) planes of H x W pixels, y as many planes of I x J; a thread has one output, in several planes (common.cuh),
// for windows are the same in all of them. Neighbouring threads have neighbouring outputs: they read overlapping windows, which
// the L1 cache serves, and write consecutive addresses.
//
// Forward, max_pool2d has two rungs and adaptive_avg_pool2d three:
//
//   any        walks over whatever window there is, with its bounds worked out for each output.
//   halving    2x2 windows side by side, which halve most networks: no bounds and no loops, so that all four reads are under way
//              at once.
//
//   thread     one thread an output: right for windows of a few pixels.
//   block      one block an output, for large windows, the global mean above all: 256 threads read side by side what one thread
//              would walk through alone. For windows of a few hundred pixels a block has hardly begun when it ends.
//   warp       one warp an output, and that in several planes, for the windows between: no barriers.
//
// Backward the ladder is the same for all of pooling:
//
//   atomic   One thread an element of gy, which it adds to the pixels that it came from. Windows may overlap, so two threads may
//            add to one pixel at once: atomicAdd lets one after the other. Simple, but gx must be filled with zeros first,
//            atomics on one address queue up, and since the order of the additions is left to chance, so are the last bits of the
//            sum.
//   gather   One thread a pixel of gx, which looks for the elements of gy that came from it, and adds them up in a fixed order:
//            no atomics, each element of gx is written once, and the same bits come out every time. The default.
//
// The gradient of max pooling is given indices only, not the windows that they were found in. To gather, a pixel needs to know
// which windows may have chosen it: a first kernel finds, for each row of pixels, the first and the last row of windows whose
// indices reach it, and likewise for columns. With the indices of a pooling these are its windows; but they are right for any
// indices. All that takes longer than the sums, so there is one rung more, the default here:
//
//   cells    Takes the windows for granted that most poolings have, side by side. Each pixel looks at one window, and one thread a
//            window checks its index. Planes where one lies outside are gathered anew.

#include "common.cuh"

// The places of x along one side that window i covers: from `first` up to `last`, those outside left out.
struct Span {
    int first, last;
    __device__ int size() const { return last - first; }
};

__device__ inline Span window(int i, int size, int kernel, int stride, int padding) {
    int first = stride * i - padding;
    return {max(0, first), min(size, first + kernel)};
}

// The windows along one side that cover pixel u: those i with stride i - padding <= u < stride i - padding + kernel.
__device__ inline Span windows_over(int u, int count, int kernel, int stride, int padding) {
    int past = u + padding - kernel;  // a window that starts here, or before, ends before u
    return {past < 0 ? 0 : past / stride + 1, min(count, (u + padding) / stride + 1)};
}

// ------------------------------------------------------------------------------------------------------------------ maximum

// Indices are 32-bit numbers by contract, so a plane has fewer than 2^31 pixels here; places in whole arrays are 64 bits wide.

// Keep the better of two candidates. The later one must be larger, so the first of equal values stays; or it is the first NaN,
// which counts as the maximum.
__device__ inline void keep_better(real& best, int& at, real value, int place) {
    if (value > best || (value != value && best == best)) {
        best = value;
        at = place;
    }
}

// eq: pool.max2d
extern "C" __global__ void max_pool2d(
    const real* x, real* y, int* indices, index all_planes, int H, int W, int I, int J,
    int R, int S, int sh, int sw, int ph, int pw) {
    Planes planes(all_planes);
    Walk walk = over_plane();
    index outputs = (index)I * J, pixels = (index)H * W;
    for (index k = walk.first; k < outputs; k += walk.step) {
        Place out = place_of(k, I, J);
        Span rows = window(out.row, H, R, sh, ph), columns = window(out.column, W, S, sw, pw);
        int first = rows.first * W + columns.first;
        InPlanes<real> best;
        InPlanes<int> at;
        best.load(planes, x + first, pixels);
        for (int p = 0; p < PLANES; ++p) at.value[p] = first;
        for (int u = rows.first; u < rows.last; ++u)
            for (int v = columns.first; v < columns.last; ++v) {
                InPlanes<real> other;
                other.load(planes, x + u * W + v, pixels);
#pragma unroll
                for (int p = 0; p < PLANES; ++p) keep_better(best.value[p], at.value[p], other.value[p], u * W + v);
            }
        best.store(y, planes, outputs, k);
        at.store(indices, planes, outputs, k);
    }
}

// eq: pool.max2d
extern "C" __global__ void max_pool2d_halving(
    const real* x, real* y, int* indices, index all_planes, int H, int W, int I, int J) {
    Planes planes(all_planes);
    Walk walk = over_plane();
    index outputs = (index)I * J, pixels = (index)H * W;
    for (index k = walk.first; k < outputs; k += walk.step) {
        Place out = place_of(k, I, J);
        int corner = 2 * out.row * W + 2 * out.column;
        InPlanes<real> best, right, below, opposite;
        InPlanes<int> at;
        best.load(planes, x + corner, pixels);
        right.load(planes, x + corner + 1, pixels);
        below.load(planes, x + corner + W, pixels);
        opposite.load(planes, x + corner + W + 1, pixels);
#pragma unroll
        for (int p = 0; p < PLANES; ++p) {
            at.value[p] = corner;
            keep_better(best.value[p], at.value[p], right.value[p], corner + 1);
            keep_better(best.value[p], at.value[p], below.value[p], corner + W);
            keep_better(best.value[p], at.value[p], opposite.value[p], corner + W + 1);
        }
        best.store(y, planes, outputs, k);
        at.store(indices, planes, outputs, k);
    }
}

// eq: pool.max2d_grad, pool.unpool. `values` has planes of I J values, `out` planes of `pixels` pixels, all zero before.
extern "C" __global__ void scatter_atomic(
    const real* values, const int* indices, real* out, index count, int per_plane, int pixels) {
    index k = thread_number();
    if (k >= count) return;
    index plane = quotient(k, per_plane);
    atomicAdd(&out[plane * pixels + indices[k]], values[k]);
}

// For each of `count` rows of windows, the lowest and the highest row of pixels that its indices name: pixel(i, j) is the row
// that window j of row i names. Likewise for columns.
template <class Pixel>
__device__ void find_hulls(int count, int others, Pixel pixel, int* low, int* high) {
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        int lowest = pixel(i, 0), highest = lowest;
        for (int j = 1; j < others; ++j) {
            lowest = min(lowest, pixel(i, j));
            highest = max(highest, pixel(i, j));
        }
        low[i] = lowest;
        high[i] = highest;
    }
}

// For each of `size` rows of pixels, the first row of windows whose indices reach it, and one past the last. Between the two
// there may be rows that do not, with the indices of no pooling even many; none that does is left out.
__device__ inline void find_spans(int size, int count, const int* low, const int* high, int* first, int* last) {
    for (int u = threadIdx.x; u < size; u += blockDim.x) {
        int from = 0, to = count;
        while (from < to && high[from] < u) ++from;
        while (to > from && low[to - 1] > u) --to;
        first[u] = from;
        last[u] = to;
    }
}

// Windows of H/I x W/J pixels side by side; the pixels that are left over belong to the last ones.
struct Cells {
    unsigned W, R, S, I, J;
    __device__ index with(unsigned pixel) const {
        return (index)min(pixel / W / R, I - 1) * J + min(pixel % W / S, J - 1);
    }
};

// eq: pool.max2d_grad, pool.unpool. As if it were certain that each window's index names a pixel of its own cell: then a pixel has to
// look at the cell's window only. Thread k checks that for window k, and where it is wrong it sets strays[plane].
extern "C" __global__ void scatter_cells(
    const real* values, const int* indices, real* out, int* strays, index all_planes, int H, int W, int I, int J) {
    Planes planes(all_planes);
    Walk walk = over_plane();
    index windows = (index)I * J, pixels = (index)H * W;
    Cells cells = {(unsigned)W, (unsigned)(H / I), (unsigned)(W / J), (unsigned)I, (unsigned)J};
    for (index k = walk.first; k < pixels; k += walk.step) {
        index window = cells.with((unsigned)k);
        InPlanes<int> named;
        InPlanes<real> value;
        named.load(planes, indices + window, windows);
        value.load(planes, values + window, windows);
        for (int p = 0; p < PLANES; ++p) value.value[p] = named.value[p] == k ? value.value[p] : real(0);
        value.store(out, planes, pixels, k);
        if (k >= windows) continue;
        named.load(planes, indices + k, windows);
        for (int p = 0; p < planes.count; ++p)
            if (cells.with(named.value[p]) != k) atomicOr(&strays[planes.first + p], 1);
    }
}

// One block a plane, if it has strays or nobody looked for any. reach[plane] is four lists: first and last of each row of pixels, first and last of each column;
// hulls[plane] is room for low and high of each row and each column of windows.
extern "C" __global__ void find_reach(
    const int* indices, const int* strays, bool looked, int* hulls, int* reach, int H, int W, int I, int J) {
    index plane = blockIdx.x;
    if (looked && strays[plane] == 0) return;
    indices += plane * I * J;
    int *low_rows = hulls + plane * 2 * ((index)I + J), *high_rows = low_rows + I;
    int *low_columns = high_rows + I, *high_columns = low_columns + J;
    find_hulls(I, J, [=](int i, int j) { return indices[(index)i * J + j] / W; }, low_rows, high_rows);
    find_hulls(J, I, [=](int j, int i) { return indices[(index)i * J + j] % W; }, low_columns, high_columns);
    __syncthreads();
    int *first_row = reach + plane * 2 * ((index)H + W), *last_row = first_row + H;
    int *first_column = last_row + H, *last_column = first_column + W;
    find_spans(H, I, low_rows, high_rows, first_row, last_row);
    find_spans(W, J, low_columns, high_columns, first_column, last_column);
}

// eq: pool.max2d_grad, pool.unpool
extern "C" __global__ void scatter_gather(
    const real* values, const int* indices, const int* strays, bool looked, const int* reach, real* out,
    int H, int W, int I, int J) {
    index plane = blockIdx.x;
    if (looked && strays[plane] == 0) return;
    values += plane * I * J;
    indices += plane * I * J;
    out += plane * H * W;
    reach += plane * 2 * ((index)H + W);
    Walk walk = over_plane();
    for (index k = walk.first; k < (index)H * W; k += walk.step) {
        Place here = place_of(k, H, W);
        Span rows = {reach[here.row], reach[H + here.row]};
        Span columns = {reach[2 * H + here.column], reach[2 * H + W + here.column]};
        real total = 0;
        for (int i = rows.first; i < rows.last; ++i)
            for (int j = columns.first; j < columns.last; ++j)
                if (indices[i * J + j] == k) total += values[i * J + j];
        out[k] = total;
    }
}

// eq: pool.unpool_grad. `values` has planes of `pixels` values; out[k] is the one that indices[k] names.
extern "C" __global__ void max_unpool2d_grad_x(
    const real* values, const int* indices, real* out, index count, int per_plane, int pixels) {
    index k = thread_number();
    if (k >= count) return;
    index plane = quotient(k, per_plane);
    out[k] = values[plane * pixels + indices[k]];
}

// --------------------------------------------------------------------------------------------------------------------- mean

// What the sum over a window is divided by: all its places, or those that are pixels.
__device__ inline real divisor(Span rows, Span columns, int R, int S, bool count_include_pad) {
    return count_include_pad ? real(R) * S : real(rows.size()) * columns.size();
}

__device__ inline real sum_over(const real* plane, Span rows, Span columns, int W) {
    real total = 0;
    for (int u = rows.first; u < rows.last; ++u)
        for (int v = columns.first; v < columns.last; ++v) total += plane[(index)u * W + v];
    return total;
}

// eq: pool.avg2d
extern "C" __global__ void avg_pool2d(
    const real* x, real* y, index all_planes, int H, int W, int I, int J,
    int R, int S, int sh, int sw, int ph, int pw, bool count_include_pad) {
    Planes planes(all_planes);
    Walk walk = over_plane();
    index outputs = (index)I * J, pixels = (index)H * W;
    for (index k = walk.first; k < outputs; k += walk.step) {
        Place out = place_of(k, I, J);
        Span rows = window(out.row, H, R, sh, ph), columns = window(out.column, W, S, sw, pw);
        real share = 1 / divisor(rows, columns, R, S, count_include_pad);
        InPlanes<real> mean = {};
        for (int u = rows.first; u < rows.last; ++u)
            for (int v = columns.first; v < columns.last; ++v)
                mean.add(planes, share, x + (index)u * W + v, pixels);
        mean.store(y, planes, outputs, k);
    }
}

// eq: pool.avg2d_grad
extern "C" __global__ void avg_pool2d_grad_x_atomic(
    const real* gy, real* gx, index outputs, int H, int W, int I, int J,
    int R, int S, int sh, int sw, int ph, int pw, bool count_include_pad) {
    index k = thread_number();
    if (k >= outputs) return;
    Place out = place_of(k, I, J);
    gx += out.plane * H * W;
    Span rows = window(out.row, H, R, sh, ph), columns = window(out.column, W, S, sw, pw);
    real share = gy[k] / divisor(rows, columns, R, S, count_include_pad);
    for (int u = rows.first; u < rows.last; ++u)
        for (int v = columns.first; v < columns.last; ++v) atomicAdd(&gx[(index)u * W + v], share);
}

// eq: pool.avg2d_grad
extern "C" __global__ void avg_pool2d_grad_x_gather(
    const real* gy, real* gx, index all_planes, int H, int W, int I, int J,
    int R, int S, int sh, int sw, int ph, int pw, bool count_include_pad) {
    Planes planes(all_planes);
    Walk walk = over_plane();
    index outputs = (index)I * J, pixels = (index)H * W;
    for (index k = walk.first; k < pixels; k += walk.step) {
        Place here = place_of(k, H, W);
        Span down = windows_over(here.row, I, R, sh, ph), across = windows_over(here.column, J, S, sw, pw);
        InPlanes<real> total = {};
        for (int i = down.first; i < down.last; ++i)
            for (int j = across.first; j < across.last; ++j) {
                Span rows = window(i, H, R, sh, ph), columns = window(j, W, S, sw, pw);
                real share = 1 / divisor(rows, columns, R, S, count_include_pad);
                total.add(planes, share, gy + (index)i * J + j, outputs);
            }
        total.store(gx, planes, pixels, k);
    }
}

// ------------------------------------------------------------------------------------------ mean of a given number of windows

// Window i of `count` along a side: floor(i H/H') up to ceil((i+1) H/H'). With H and H' exchanged: the windows that pixel i is
// in.
__device__ inline Span adaptive_window(int i, int size, int count) {
    return {(int)quotient((index)i * size, count), (int)quotient(((index)i + 1) * size + count - 1, count)};
}

// eq: pool.adaptive_avg
extern "C" __global__ void adaptive_avg_pool2d_thread(
    const real* x, real* y, index outputs, int H, int W, int I, int J) {
    index k = thread_number();
    if (k >= outputs) return;
    Place out = place_of(k, I, J);
    Span rows = adaptive_window(out.row, H, I), columns = adaptive_window(out.column, W, J);
    real total = sum_over(x + out.plane * H * W, rows, columns, W);
    y[k] = total / (real(rows.size()) * columns.size());
}

// f(u, v) for the pixels of a window that thread `rank` of `size` takes, who share it: they stand side by side along its rows, as
// many whole rows at once as there are threads for.
template <class F>
__device__ void share_window(Span rows, Span columns, int rank, int size, F f) {
    int width = columns.size(), together = max(1, size / width), row = rank / width;
    if (row >= together) return;
    for (int u = rows.first + row; u < rows.last; u += together)
        for (int v = columns.first + rank % width; v < columns.last; v += size) f(u, v);
}

// eq: pool.adaptive_avg
extern "C" __global__ void adaptive_avg_pool2d_block(
    const real* x, real* y, index outputs, int H, int W, int I, int J) {
    __shared__ real scratch[WARP];
    for (index k = blockIdx.x; k < outputs; k += gridDim.x) {
        Place out = place_of(k, I, J);
        const real* plane = x + out.plane * H * W;
        Span rows = adaptive_window(out.row, H, I), columns = adaptive_window(out.column, W, J);
        real total = 0;
        share_window(rows, columns, threadIdx.x, blockDim.x, [&](int u, int v) { total += plane[(index)u * W + v]; });
        total = block_sum(total, scratch);
        if (threadIdx.x == 0) y[k] = total / (real(rows.size()) * columns.size());
    }
}

// eq: pool.adaptive_avg
extern "C" __global__ void adaptive_avg_pool2d_warp(
    const real* x, real* y, index all_planes, int H, int W, int I, int J) {
    Planes planes(all_planes);
    Walk walk = over_plane();
    int lane = threadIdx.x % WARP;
    index outputs = (index)I * J, pixels = (index)H * W;
    for (index k = walk.first / WARP; k < outputs; k += walk.step / WARP) {
        Place out = place_of(k, I, J);
        Span rows = adaptive_window(out.row, H, I), columns = adaptive_window(out.column, W, J);
        real share = 1 / (real(rows.size()) * columns.size());
        InPlanes<real> mean = {};
        share_window(rows, columns, lane, WARP, [&](int u, int v) {
            mean.add(planes, share, x + (index)u * W + v, pixels);
        });
#pragma unroll
        for (int p = 0; p < PLANES; ++p) mean.value[p] = warp_sum(mean.value[p]);
        if (lane == 0) mean.store(y, planes, outputs, k);
    }
}

// eq: pool.adaptive_avg_grad
extern "C" __global__ void adaptive_avg_pool2d_grad_x_atomic(
    const real* gy, real* gx, index outputs, int H, int W, int I, int J) {
    index k = thread_number();
    if (k >= outputs) return;
    Place out = place_of(k, I, J);
    gx += out.plane * H * W;
    Span rows = adaptive_window(out.row, H, I), columns = adaptive_window(out.column, W, J);
    real share = gy[k] / (real(rows.size()) * columns.size());
    for (int u = rows.first; u < rows.last; ++u)
        for (int v = columns.first; v < columns.last; ++v) atomicAdd(&gx[(index)u * W + v], share);
}

// eq: pool.adaptive_avg_grad
extern "C" __global__ void adaptive_avg_pool2d_grad_x_gather(
    const real* gy, real* gx, index all_planes, int H, int W, int I, int J) {
    Planes planes(all_planes);
    Walk walk = over_plane();
    index outputs = (index)I * J, pixels = (index)H * W;
    for (index k = walk.first; k < pixels; k += walk.step) {
        Place here = place_of(k, H, W);
        Span down = adaptive_window(here.row, I, H), across = adaptive_window(here.column, J, W);
        InPlanes<real> total = {};
        for (int i = down.first; i < down.last; ++i)
            for (int j = across.first; j < across.last; ++j) {
                Span rows = adaptive_window(i, H, I), columns = adaptive_window(j, W, J);
                real share = 1 / (real(rows.size()) * columns.size());
                total.add(planes, share, gy + (index)i * J + j, outputs);
            }
        total.store(gx, planes, pixels, k);
    }
}
