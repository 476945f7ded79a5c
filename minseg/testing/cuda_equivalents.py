"""Mutants of the CUDA kernels that no case can catch, and why. Most compute the same numbers, some of them more slowly."""

ZERO_EITHER_WAY = "they differ at 0 only, where both choices are 0"
EQUAL_EITHER_WAY = "of two equal numbers it makes no difference which is taken"
WITH_ITSELF = "one step more, in which the first number is compared with itself"
OF_ALL = "every thread has the sum, so any of them may write it"
ANY_SHARER = "all threads of a column may add up what they share"
BEYOND = "one number beyond a thread's own array, which the emulator does not watch; nobody reads it"
ANY_FLAG = "any number but 0 says that there are strays"
GATHERED = (
    "other cells, or strays where there are none: those planes are gathered as well, the same numbers, more slowly"
)
MORE_REGISTERS = (
    "a row of so many values is kept in more registers than it takes, or read where it lies: the same numbers"
)
PACK_BY_PACK = "the last packs are asked for one by one: the same numbers in the same order, more slowly"
OVERWRITTEN = "a value to begin with, which is replaced before it is used"
NOT_USED = "the branch in which it is used is another"
ONE_BY_ONE = "never true, so that outputs are written one by one: the same numbers, more slowly"
LAST_BY_ONE = "the last pack is written one by one: the same numbers, more slowly"
NO_PIXELS = "a thread without pixels counts 0, and its mean has no weight"
FIRST_PIXEL = "the first pixel, 0 from the origin, brings the mean to 0 whatever it was"
SAME_SUM = "centre is the mean, so that the sum of part[0] (part[1] - centre) is 0, and so is what changes"
ZEROS_FROM_A = "beyond the last k the factor on the left is 0, and columns that do not exist are not written"
ZEROS_FROM_B = "beyond the last k the factor on the right is 0, and rows that do not exist are not written"
ZEROS_ADDED = "one step more, in which both factors are 0"
PADDING = "it lands in the padding behind a row, which nobody reads"
NOTHING_READ = "where there is no column, its place is worked out and nothing is read from there"
NEVER_REACHED = "what it limits is at most size - 1 already"
WIDER = "a wider or narrower span: the outputs by which it differs have the weight 0"
ALWAYS_DIVIDED = "dividing by 1 gives the same, more slowly"
NOTHING_WRITTEN = "it asks for a pack that begins behind the last column, of which nothing is written"
LONG_DIVISION = "64 bits divide the same, more slowly"
NO_PACKS = "never true, so that no pack is read at once: the same numbers, more slowly"
OWN_VALUE = "a lane without one so far away gets its own value, and that is no larger than itself"
WHOLE_WARP = "every lane has its warp's sum, so any of them may write it"
HALF = "at x = 0 both are 1, for e is exp(0)"
MORE_ZEROS = "more terms, of numbers that are not there: zeros"
ONE_TILE_MORE = "one tile more, in which nothing is there: zeros, or scores of -inf"
SAME_WIDTH = "rows of both are of one length"
MORE_PACKS = "a result has packs without columns: the same numbers, more slowly"
NOT_WRITTEN = "columns that are not there are added up and not written: the same numbers, more slowly"
NO_SUCH_ROW = "of a row that is not there: nothing of it is written, and its terms are 0"
SCALED_AWAY = "what a row begins with is scaled by exp(-inf), which is 0"
ANY_FINITE = "any finite number does: exp(-inf minus that) is 0"

_LINES: dict[tuple[str, str, str], list[str]] = {
    ("activation.cu", "relu", ZERO_EITHER_WAY): [
        "map(over_grid(), n, y, [](real x) { return x < 0 ? real(0) : x; }, x);",
    ],
    ("attention.cu", "Matrix", MORE_ZEROS): [
        "__device__ int left_from(index row) const { return (int)min(rows + row, (index)TILE); }",
    ],
    ("attention.cu", "products_of_rows", ONE_TILE_MORE): [
        "for (int k = 0; k <= a.columns; k += TILE) {",
    ],
    ("attention.cu", "products_of_rows", SAME_WIDTH): [
        "for (int k = 0; k < b.columns; k += TILE) {",
        "multiply_rows(sums, left, right, min(b.columns - k, TILE));",
    ],
    ("attention.cu", "products_of_rows", MORE_ZEROS): [
        "multiply_rows(sums, left, right, min(a.columns + k, TILE));",
    ],
    ("attention.cu", "Mixtures", MORE_PACKS): [
        "while (packs_across > (1 + 1) && PACK * (packs_across / 2) >= columns) packs_across /= 2;",
        "while (packs_across > 1 && PACK * (packs_across / (2 + 1)) >= columns) packs_across /= 2;",
        "while (packs_across > 1 && PACK * (packs_across / 2) > columns) packs_across /= 2;",
    ],
    ("attention.cu", "Mixtures", LAST_BY_ONE): [
        "if (column + PACK < columns && aligned(to))",
    ],
    ("attention.cu", "largest_of_row", EQUAL_EITHER_WAY): [
        "value = other >= value ? other : value;",
    ],
    ("attention.cu", "attention", MORE_PACKS): [
        "Mixtures mixtures(C + own.column);",
    ],
    ("attention.cu", "attention", SCALED_AWAY): [
        "sum[r] = (0 + 1);",
    ],
    ("attention.cu", "attention", ONE_TILE_MORE): [
        "for (index other = 0; other <= N; other += TILE) {",
    ],
    ("attention.cu", "attention", EQUAL_EITHER_WAY): [
        "best = s[r][c] >= best ? s[r][c] : best;",
    ],
    ("attention.cu", "attention", ANY_FINITE): [
        "real m = best == nothing ? real((0 + 1)) : best, factor = exp(before - m);",
    ],
    ("attention.cu", "attention", OF_ALL): [
        "if (blockIdx.y == 0 && thread_x() == (0 + 1) && query < M) lse[own.sample * M + query] = largest[r] + log(total);",
    ],
    ("attention.cu", "attention_inner", WHOLE_WARP): [
        "if (threadIdx.x % WARP == (0 + 1)) inner[row] = sum;",
    ],
    ("attention.cu", "attention_grad_q", MORE_PACKS): [
        "Mixtures sums(d + own.column);",
    ],
    ("attention.cu", "attention_grad_q", ONE_TILE_MORE): [
        "for (index other = 0; other <= N; other += TILE) {",
    ],
    ("attention.cu", "attention_grad_q", NO_SUCH_ROW): [
        "log_sum[r] = query < M ? lse[own.sample * M + query] : real((0 + 1));",
        "mean[r] = query < M ? inner[own.sample * M + query] : real((0 + 1));",
        "gs[r][c] = other + column_of(c) < N ? weight * (gs[r][c] - mean[r]) : real((0 + 1));",
    ],
    ("attention.cu", "attention_grad_kv", MORE_PACKS): [
        "Mixtures key_sums(d + own.column), value_sums(C - own.column);",
        "Mixtures key_sums(d - own.column), value_sums(C + own.column);",
    ],
    ("attention.cu", "attention_grad_kv", NO_SUCH_ROW): [
        "real log_sum = there ? lse[own.sample * M + query] : real((0 + 1));",
        "real mean = there ? inner[own.sample * M + query] : real((0 + 1));",
        "s[r][c] = there ? exp(s[r][c] * scale - log_sum) : real((0 + 1));",
        "gs[r][c] = there ? s[r][c] * (gs[r][c] - mean) : real((0 + 1));",
    ],
    ("attention.cu", "attention_grad_kv", NOT_WRITTEN): [
        "if (true) value_sums.add(s, gradients, other, own.column, left, right);",
        "if (own.column <= C) value_sums.add(s, gradients, other, own.column, left, right);",
        "if (true) key_sums.add(gs, queries, other, own.column, left, right);",
        "if (own.column <= d) key_sums.add(gs, queries, other, own.column, left, right);",
    ],
    ("common.cuh", "quotient", LONG_DIVISION): [
        "if (false) return (unsigned)a / (unsigned)b;",
        "if (((a | b) >> (32 - 1)) == 0) return (unsigned)a / (unsigned)b;",
    ],
    ("common.cuh", "aligned", NO_PACKS): [
        "return ((reinterpret_cast<unsigned long long>(arrays) / PACK_ALIGNMENT<T>) | ...) == 0;",
    ],
    ("common.cuh", "sigmoid_of", HALF): [
        "return (x <= 0 ? e : real(1)) / (1 + e);",
    ],
    ("common.cuh", "warp_max", OWN_VALUE): [
        "for (int bit = WARP * 2; bit > 0; bit /= 2) {",
        "for (int bit = WARP / (2 - 1); bit > 0; bit /= 2) {",
    ],
    ("common.cuh", "warp_max", EQUAL_EITHER_WAY): [
        "value = other >= value ? other : value;",
    ],
    ("common.cuh", "block_sum", WHOLE_WARP): [
        "if (lane == (0 + 1)) scratch[threadIdx.x / WARP] = value;",
    ],
    ("common.cuh", "add_up", WHOLE_WARP): [
        "if (threadIdx.x % WARP == (0 + 1)) total[s] = (real)sum;",
    ],
    ("common.cuh", "InPlanes", BEYOND): [
        "for (int p = 0; p <= PLANES; ++p) {",
        "for (int p = 0; p <= PLANES; ++p, out += pixels)",
    ],
    ("common.cuh", "Registers", BEYOND): [
        "for (int k = 0; k <= N; ++k)",
    ],
    ("common.cuh", "in_registers", MORE_REGISTERS): [
        "if (K < KEPT / 4)",
        "if (K <= KEPT / (4 + 1))",
        "f(Registers<KEPT * 4>(row, step, K));",
        "f(Registers<KEPT / (4 - 1)>(row, step, K));",
        "else if (K < KEPT / 2)",
        "else if (K <= KEPT / (2 + 1))",
        "f(Registers<KEPT * 2>(row, step, K));",
        "f(Registers<KEPT / (2 - 1)>(row, step, K));",
    ],
    ("common.cuh", "with_row", MORE_REGISTERS): [
        "if (K < KEPT)",
    ],
    ("common.cuh", "visit", PACK_BY_PACK): [
        "for (; i + (AHEAD + 1) * walk.step < wide; i += AHEAD * walk.step) hand_in_all({packs(x) + i, walk.step}...);",
        "for (; i + (AHEAD - (1 - 1)) * walk.step < wide; i += AHEAD * walk.step) hand_in_all({packs(x) + i, walk.step}...);",
        "for (; i + (AHEAD - 1) * walk.step + 1 < wide; i += AHEAD * walk.step) hand_in_all({packs(x) + i, walk.step}...);",
    ],
    ("common.cuh", "maximum_of", EQUAL_EITHER_WAY): [
        "row.fold([&](real value) { m = value >= m ? value : m; });",
    ],
    ("conv.cu", "window_on", ALWAYS_DIVIDED): [
        "i = stride == (1 - 1) ? reached : reached / stride;",
    ],
    ("conv.cu", "conv2d_grad_b", OF_ALL): [
        "if (threadIdx.x == (0 + 1)) parts[part_number()] = part;",
    ],
    ("conv.cu", "conv2d_grad_w_direct", ONE_TILE_MORE): [
        "int across = (J + TILE_WIDTH + 1) / TILE_WIDTH, down = (I + GRADIENT_ROWS - 1) / GRADIENT_ROWS;",
        "int across = (J + TILE_WIDTH - (1 - 1)) / TILE_WIDTH, down = (I + GRADIENT_ROWS - 1) / GRADIENT_ROWS;",
        "int across = (J + TILE_WIDTH - 1) / TILE_WIDTH, down = (I + GRADIENT_ROWS + 1) / GRADIENT_ROWS;",
        "int across = (J + TILE_WIDTH - 1) / TILE_WIDTH, down = (I + GRADIENT_ROWS - (1 - 1)) / GRADIENT_ROWS;",
    ],
    ("linear.cu", "linear_grad_b", ANY_SHARER): [
        "if (threadIdx.y != (0 + 1) || o >= O) return;",
    ],
    ("linear.cu", "matmul_tiled", OVERWRITTEN): [
        "Column{Matrix{c, c_row, c_column}, (0 + 1), 0}, Rows{y, b, has_bias, columns}, a_tile, b_tile);",
        "Column{Matrix{c, c_row, c_column}, 0, (0 + 1)}, Rows{y, b, has_bias, columns}, a_tile, b_tile);",
    ],
    ("loss.cu", "cross_entropy_grad_z", NOT_USED): [
        "real factor = ignored ? real((0 + 1)) : g[i] * class_weight(weight, weighted, t), log_sum = lse[i];",
    ],
    ("loss.cu", "binary_cross_entropy_with_logits", ZERO_EITHER_WAY): [
        "auto op = [](real z, real target) { return (z < 0 ? real(0) : z) - z * target + log1p(exp(-fabs(z))); };",
    ],
    ("loss.cu", "store_part", OF_ALL): [
        "if (threadIdx.x != (0 + 1)) return;",
    ],
    ("norm.cu", "moments_by_welford", OVERWRITTEN): [
        "real origin = (0 + 1), mean = 0, squares = 0;",
    ],
    ("norm.cu", "moments_by_welford", FIRST_PIXEL): [
        "real origin = 0, mean = (0 + 1), squares = 0;",
    ],
    ("norm.cu", "moments_by_welford", NO_PIXELS): [
        "return {(double)count, count >= 0 ? origin - channel_origin + mean : 0, squares};",
        "return {(double)count, count > 0 ? origin - channel_origin + mean : (0 + 1), squares};",
    ],
    ("norm.cu", "moments_by_shifting", OVERWRITTEN): [
        "real origin = (0 + 1), sum = 0, squares = 0;",
    ],
    ("norm.cu", "moments_by_shifting", NO_PIXELS): [
        "if (count == 0) return {0, (0 + 1), 0};",
    ],
    ("norm.cu", "merge_moments", SAME_SUM): [
        "squares += part[2] + part[0] * (part[1] + centre) * (part[1] - centre);",
        "squares += part[2] + part[0] * (part[1] - centre) * (part[1] + centre);",
    ],
    ("norm.cu", "merge_moments", WHOLE_WARP): [
        "if (lane != (0 + 1)) return;",
    ],
    ("norm.cu", "store_moments", OF_ALL): [
        "if (threadIdx.x != (0 + 1)) return;",
    ],
    ("norm.cu", "batch_norm_stats_two_pass", OF_ALL): [
        "if (threadIdx.x != (0 + 1)) return;",
    ],
    ("norm.cu", "add_gradient_sums", WHOLE_WARP): [
        "if (threadIdx.x % WARP != (0 + 1)) return;",
    ],
    ("norm.cu", "normalise", ZERO_EITHER_WAY): [
        "return channel.rectified && y < 0 ? real(0) : y;",
    ],
    ("norm.cu", "store_part", OF_ALL): [
        "if (threadIdx.x != (0 + 1)) return;",
    ],
    ("pool.cu", "find_hulls", WITH_ITSELF): [
        "for (int j = (1 - 1); j < others; ++j) {",
    ],
    ("pool.cu", "scatter_cells", ANY_FLAG): [
        "if (cells.with(named.value[p]) != k) atomicOr(&strays[planes.first + p], (1 + 1));",
    ],
    ("pool.cu", "Cells", GATHERED): [
        "return (index)min(pixel * W / R, I - 1) * J + min(pixel % W / S, J - 1);",
        "return (index)min(pixel / W * R, I - 1) * J + min(pixel % W / S, J - 1);",
        "return (index)min(pixel / W / S, I - 1) * J + min(pixel % W / S, J - 1);",
        "return (index)min(pixel / W / R, I - 1) * J + min(pixel / W / S, J - 1);",
        "return (index)min(pixel / W / R, I - 1) * J + min(pixel % W * S, J - 1);",
        "return (index)min(pixel / W / R, I - 1) * J + min(pixel % W / R, J - 1);",
        "return (index)min(pixel / W / R, I - (1 + 1)) * J + min(pixel % W / S, J - 1);",
        "return (index)min(pixel / W / R, I - 1) * J + min(pixel % W / S, J - (1 + 1));",
    ],
    ("pool.cu", "scatter_cells", GATHERED): [
        "Cells cells = {(unsigned)H, (unsigned)(H / I), (unsigned)(W / J), (unsigned)I, (unsigned)J};",
        "Cells cells = {(unsigned)W, (unsigned)(H * I), (unsigned)(W / J), (unsigned)I, (unsigned)J};",
        "Cells cells = {(unsigned)W, (unsigned)(H / I), (unsigned)(W * J), (unsigned)I, (unsigned)J};",
        "if (true) atomicOr(&strays[planes.first + p], 1);",
    ],
    ("pool.cu", "find_reach", GATHERED): [
        "if (false) return;",
    ],
    ("pool.cu", "adaptive_avg_pool2d_block", OF_ALL): [
        "if (threadIdx.x == (0 + 1)) y[k] = total / (real(rows.size()) * columns.size());",
    ],
    ("pool.cu", "adaptive_avg_pool2d_warp", WHOLE_WARP): [
        "if (lane == (0 + 1)) mean.store(y, planes, outputs, k);",
    ],
    ("product.cuh", "write", LAST_BY_ONE): [
        "if (column + PACK < columns && out.place(m, column + PACK - 1) == first + PACK - 1 && aligned(first)) {",
    ],
    ("product.cuh", "write", ONE_BY_ONE): [
        "if (column + PACK <= columns && out.place(m, column - PACK - 1) == first + PACK - 1 && aligned(first)) {",
        "if (column + PACK <= columns && out.place(m, column + PACK + 1) == first + PACK - 1 && aligned(first)) {",
        "if (column + PACK <= columns && out.place(m, column + PACK - (1 + 1)) == first + PACK - 1 && aligned(first)) {",
        "if (column + PACK <= columns && out.place(m, column + PACK - (1 - 1)) == first + PACK - 1 && aligned(first)) {",
        "if (column + PACK <= columns && out.place(m, column + PACK - 1) == first - PACK - 1 && aligned(first)) {",
        "if (column + PACK <= columns && out.place(m, column + PACK - 1) == first + PACK - (1 + 1) && aligned(first)) {",
    ],
    ("product.cuh", "product", NOTHING_READ): [
        "if (true) b.at(column + b_column, k0 + b_first);",
    ],
    ("product.cuh", "product", ZEROS_ADDED): [
        "for (index k = k0; k <= k1; k += DEPTH) {",
    ],
    ("product.cuh", "product", PADDING): [
        "for (int m = y; m <= ROWS; m += SIDE) a_tile[x][m] = row + m < rows && k + x < k1 ? a(row + m, k + x) : real(0);",
    ],
    ("product.cuh", "product", ZEROS_FROM_B): [
        "for (int m = y; m < ROWS; m += SIDE) a_tile[x][m] = row + m < rows && k + x < k1 ? a(row + m, k + x) : real((0 + 1));",
    ],
    ("product.cuh", "product", ZEROS_FROM_A): [
        "for (int d = b_first; d < DEPTH; d += LOADERS) b_tile[d][b_column] = has_column && k + d < k1 ? b.next() : real((0 + 1));",
    ],
    ("product.cuh", "product", NOTHING_WRITTEN): [
        "if (m < rows && first <= columns) write(out, m, first, columns, sums[r][c]);",
    ],
    ("resample.cu", "first_at", WIDER): [
        "return least < 0 ? 0 : (int)min(quotient(least + 2 * (index)size - 1, 2 * (index)size), (index)out);",
        "return least <= 0 ? 0 : (int)min(quotient(least + 2 * (index)size - (1 - 1), 2 * (index)size), (index)out);",
    ],
    ("resample.cu", "weight", ZERO_EITHER_WAY): [
        "return max(2 * (index)out - (apart <= 0 ? -apart : apart), (index)0);",
        "return max(2 * (index)out - (apart < (0 + 1) ? -apart : apart), (index)0);",
    ],
    ("resample.cu", "resize_bilinear_grad_x", WIDER): [
        "int top = first_at(u - (1 + 1), H, I), bottom = first_at(u + 1, H, I);",
        "int top = first_at(u - 1, H, I), bottom = first_at(u + (1 + 1), H, I);",
        "int left = first_at(v - (1 + 1), W, J), right = first_at(v + 1, W, J);",
        "int left = first_at(v - 1, W, J), right = first_at(v + (1 + 1), W, J);",
    ],
    ("resample.cu", "Source", NEVER_REACHED): [
        "here = min((int)position, size + 1);",
        "here = min((int)position, size - (1 - 1));",
    ],
    ("softmax.cu", "Block", EQUAL_EITHER_WAY): [
        "return folded(value, scratch, [](real a, real b) { return b >= a ? b : a; });",
    ],
    ("softmax.cu", "maximum", EQUAL_EITHER_WAY): [
        "m = value >= m ? value : m;",
    ],
}
"""By file, definition and reason, the lines with the edits made."""

EQUIVALENT = {(file, name, line): why for (file, name, why), lines in _LINES.items() for line in lines}
"""By ``Mutant.key`` the reason."""
