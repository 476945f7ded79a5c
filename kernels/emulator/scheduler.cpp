// Runs a grid on one CPU thread: one block after the other, each CUDA thread as a fiber that runs until it has to wait.
//
// A fiber starts with makecontext and from then on changes sides with _setjmp and _longjmp, which make no system call: no assembly,
// the same on x86-64 and ARM64. A fiber whose CUDA thread ends takes up the next thread of the block, so that a kernel without
// barriers needs a single fiber and costs no more than a loop.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <random>
#include <vector>

#include "checker.h"
#include "runtime.h"

// What kernels read as threadIdx and so on.
extern "C" {
__attribute__((visibility("hidden"))) Index3 threadIdx, blockIdx, blockDim, gridDim;
}

namespace {

constexpr size_t STACK_BYTES = 64 << 10;  // build.py has g++ refuse kernels with larger frames
constexpr int MOST_THREADS = 1024;
constexpr size_t MOST_SHARED = 48 << 10;

enum class State : uint8_t { NotStarted, Ready, AtBarrier, AtCollective, Exited };
enum Order { Ascending, Descending, Shuffled, Interleaved };

struct Fiber {
    jmp_buf context;
    int number = 0;
    bool started = false;
};

// What a lane hands in at a warp operation, and what it gets back.
struct Exchange {
    unsigned mask = 0;
    int source = 0;      // the lane whose value it wants
    unsigned size = 0;   // bytes of the value; 0 where none is sent
    bool vote = false;
    bool barrier = false;  // __syncwarp, which orders memory as well
    uint64_t sent = 0, received = 0;
    unsigned ballot = 0;
};

struct Thread {
    State state = State::NotStarted;
    Fiber* fiber = nullptr;
    Place place;  // where it waits
    Exchange exchange;
};

Fiber fibers[MOST_THREADS];
char* stacks = nullptr;
std::vector<Fiber*> idle;
Fiber* current = nullptr;          // the fiber that runs, or none while the scheduler does
jmp_buf scheduler_side, end_of_launch;

Thread threads[MOST_THREADS];
int thread_count, started_count, exited_count;
int running;                       // the number of the thread that `current` runs
int order_of_threads[MOST_THREADS];
int rank_of_thread[MOST_THREADS];  // its place in that order
std::vector<int> ready;            // threads to resume, the next one first
size_t next_ready;

void (*kernel)(void**);
void** kernel_arguments;
Order order;
std::mt19937 shuffler;
std::vector<Range> shared_arrays;
alignas(256) char dynamic_shared[MOST_SHARED];
size_t dynamic_bytes;
Report* found;

// ----------------------------------------------------------------------------------------------------------------- fibers

Index3 index_of(int thread) {
    unsigned t = thread;
    return {t % blockDim.x, t / blockDim.x % blockDim.y, t / (blockDim.x * blockDim.y)};
}

void take_up(int thread, Fiber* fiber) {
    running = thread;
    current = fiber;
    threadIdx = index_of(thread);
}

void back_to_scheduler() {
    if (!_setjmp(current->context)) _longjmp(scheduler_side, 1);
}

void thread_exits(int thread);

// The life of a fiber: thread after thread of a block, until one of them waits; then, when they are over, the next block.
void live() {
    Fiber* self = current;
    for (;;) {
        while (started_count < thread_count) {
            int thread = order_of_threads[started_count++];
            threads[thread].fiber = self;
            threads[thread].state = State::Ready;
            take_up(thread, self);
            kernel(kernel_arguments);
            thread_exits(thread);
        }
        idle.push_back(self);
        back_to_scheduler();
    }
}

void start(Fiber* fiber) {
    static ucontext_t context;
    fiber->started = true;
    getcontext(&context);
    context.uc_stack.ss_sp = stacks + fiber->number * STACK_BYTES;
    context.uc_stack.ss_size = STACK_BYTES - fiber->number % 64 * 192;  // staggered: or all would share the same cache lines
    makecontext(&context, live, 0);
    setcontext(&context);
}

void switch_to(Fiber* fiber) {
    current = fiber;
    if (!_setjmp(scheduler_side)) {
        if (fiber->started)
            _longjmp(fiber->context, 1);
        else
            start(fiber);
    }
    current = nullptr;
}

// After a report, fibers stand in the middle of kernels: forget where.
void abandon_fibers() {
    idle.clear();
    for (int i = MOST_THREADS - 1; i >= 0; --i) {
        fibers[i].number = i;
        fibers[i].started = false;
        idle.push_back(&fibers[i]);
    }
}

void wait(State state, Place place) {
    threads[running].state = state;
    threads[running].place = place;
    int thread = running;
    Fiber* fiber = current;
    back_to_scheduler();
    take_up(thread, fiber);
}

// ---------------------------------------------------------------------------------------------------------- warp operations

unsigned lanes_in_state(int warp, State state, unsigned mask) {
    unsigned lanes = 0;
    for (int lane = 0; lane < 32; ++lane) {
        int thread = 32 * warp + lane;
        if ((mask >> lane & 1) && thread < thread_count && threads[thread].state == state) lanes |= 1u << lane;
    }
    return lanes;
}

// The lanes of this mask that wait for each other, at whichever place.
unsigned arrived(int warp, unsigned mask) {
    unsigned lanes = lanes_in_state(warp, State::AtCollective, mask);
    for (int lane = 0; lane < 32; ++lane)
        if ((lanes >> lane & 1) && threads[32 * warp + lane].exchange.mask != mask) lanes &= ~(1u << lane);
    return lanes;
}

// Lanes that have exited, or that a warp at the end of a block does not have, take no part.
unsigned expected(int warp, unsigned mask) {
    unsigned lanes = 0;
    for (int lane = 0; lane < 32; ++lane) {
        int thread = 32 * warp + lane;
        if ((mask >> lane & 1) && thread < thread_count && threads[thread].state != State::Exited) lanes |= 1u << lane;
    }
    return lanes;
}

void give_results(int warp, unsigned present) {
    unsigned ballot = 0;
    for (int lane = 0; lane < 32; ++lane)
        if ((present >> lane & 1) && threads[32 * warp + lane].exchange.vote) ballot |= 1u << lane;
    for (int lane = 0; lane < 32; ++lane) {
        if (!(present >> lane & 1)) continue;
        Thread& thread = threads[32 * warp + lane];
        Exchange& mine = thread.exchange;
        mine.ballot = ballot;
        if (!mine.size) continue;
        if (!(present >> mine.source & 1)) {
            running = 32 * warp + lane;
            report("shuffle", thread.place, "the shuffle reads the value of lane %d, which %s, so what arrives is undefined",
                   mine.source, mine.mask >> mine.source & 1 ? "has exited or does not exist" : "is not in the mask");
        }
        mine.received = threads[32 * warp + mine.source].exchange.sent;
    }
}

// If all lanes that are expected have come, give the results and let them go on.
bool complete(int warp, unsigned mask) {
    unsigned present = arrived(warp, mask);
    if (present != expected(warp, mask)) return false;
    int before = running;
    give_results(warp, present);
    running = before;
    if (present && threads[32 * warp + __builtin_ctz(present)].exchange.barrier) checker_warp_met(warp, present);
    size_t first = ready.size();
    for (int lane = 0; lane < 32; ++lane) {
        if (!(present >> lane & 1)) continue;
        threads[32 * warp + lane].state = State::Ready;
        if (32 * warp + lane != running) ready.push_back(32 * warp + lane);
    }
    std::sort(ready.begin() + first, ready.end(), [](int a, int b) { return rank_of_thread[a] < rank_of_thread[b]; });
    return true;
}

Exchange& meet(Exchange mine, Place place) {
    int warp = running / 32, lane = running % 32;
    if (!(mine.mask >> lane & 1))
        report("warp mask", place, "lane %d takes part in a warp operation whose mask %08x does not name it", lane, mine.mask);
    if (unsigned others = arrived(warp, mine.mask)) {  // they agree among themselves, so one stands for all
        int other = __builtin_ctz(others);
        const Thread& waiting = threads[32 * warp + other];
        if (!(waiting.place == place) || waiting.exchange.size != mine.size)
            report("warp divergence", place, "lanes of one mask (%08x) come to different warp operations: lane %d waits at %s",
                   mine.mask, other, text_of(waiting.place));
    }
    Thread& thread = threads[running];
    thread.exchange = mine;
    thread.place = place;
    thread.state = State::AtCollective;
    if (!complete(warp, mine.mask)) wait(State::AtCollective, place);
    return threads[running].exchange;
}

void thread_exits(int thread) {
    threads[thread].state = State::Exited;
    ++exited_count;
    running = -1;  // it does not go on by itself
    int warp = thread / 32;
    for (int lane = 0; lane < 32 && 32 * warp + lane < thread_count; ++lane) {
        const Thread& waiting = threads[32 * warp + lane];
        if (waiting.state == State::AtCollective) complete(warp, waiting.exchange.mask);
    }
}

// ------------------------------------------------------------------------------------------------------------------ blocks

void note_ranks() {
    for (int i = 0; i < thread_count; ++i) rank_of_thread[order_of_threads[i]] = i;
}

void order_threads() {
    int n = thread_count, warps = (n + 31) / 32, next = 0;
    for (int i = 0; i < n; ++i) order_of_threads[i] = order == Descending ? n - 1 - i : i;
    if (order == Shuffled) std::shuffle(order_of_threads, order_of_threads + n, shuffler);
    if (order == Interleaved)  // one lane of each warp in turn
        for (int lane = 0; lane < 32; ++lane)
            for (int warp = 0; warp < warps; ++warp)
                if (32 * warp + lane < n) order_of_threads[next++] = 32 * warp + lane;
    note_ranks();
}

void reorder_after_barrier() {
    if (order == Shuffled) std::shuffle(order_of_threads, order_of_threads + thread_count, shuffler);
    if (order == Interleaved) std::reverse(order_of_threads, order_of_threads + thread_count);
    note_ranks();
}

size_t block_in_order(size_t i, size_t blocks, const std::vector<size_t>& shuffled) {
    switch (order) {
        case Descending: return blocks - 1 - i;
        case Shuffled: return shuffled[i];
        case Interleaved: return i % 2 ? blocks - 1 - i / 2 : i / 2;  // from both ends in turn
        default: return i;
    }
}

// Nobody can run: either all threads stand at one barrier, or the block would hang.
void open_barrier() {
    const Thread* first = nullptr;
    for (int i = 0; i < thread_count; ++i) {
        running = order_of_threads[i];
        const Thread& thread = threads[running];
        if (thread.state == State::AtCollective) {
            unsigned mask = thread.exchange.mask;
            report("warp deadlock", thread.place, "the lanes of mask %08x wait for each other, but %08x never come here",
                   mask, expected(running / 32, mask) & ~arrived(running / 32, mask));
        }
        if (thread.state != State::AtBarrier) continue;
        if (!first) first = &thread;
        if (!(thread.place == first->place))
            report("barrier divergence", thread.place, "some threads of the block wait at this __syncthreads, others at %s",
                   text_of(first->place));
    }
    if (exited_count) {
        running = int(first - threads);
        report("barrier divergence", first->place, "%d of the block's %d threads wait at this __syncthreads, %d have exited",
               thread_count - exited_count, thread_count, exited_count);
    }
    checker_barrier();
    reorder_after_barrier();
    ready.assign(order_of_threads, order_of_threads + thread_count);
    next_ready = 0;
    for (int i = 0; i < thread_count; ++i) threads[i].state = State::Ready;
}

// Shared memory holds what the block before left there; full of ones it is NaN for floats and -1 for integers.
void poison_shared_memory() {
    for (const Range& array : shared_arrays) memset(array.begin, 0xff, array.bytes);
    memset(dynamic_shared, 0xff, dynamic_bytes);
}

void run_block() {
    started_count = exited_count = 0;
    ready.clear();
    next_ready = 0;
    for (int i = 0; i < thread_count; ++i) threads[i] = Thread();
    order_threads();
    poison_shared_memory();
    checker_block(blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z));
    while (exited_count < thread_count) {
        if (started_count < thread_count) {
            Fiber* fiber = idle.back();
            idle.pop_back();
            switch_to(fiber);
        } else if (next_ready < ready.size()) {
            switch_to(threads[ready[next_ready++]].fiber);
        } else {
            open_barrier();
        }
    }
}

void run_grid() {
    size_t blocks = size_t(gridDim.x) * gridDim.y * gridDim.z;
    static std::vector<size_t> shuffled;
    shuffled.clear();
    if (order == Shuffled) {
        for (size_t i = 0; i < blocks; ++i) shuffled.push_back(i);
        std::shuffle(shuffled.begin(), shuffled.end(), shuffler);
    }
    for (size_t i = 0; i < blocks; ++i) {
        size_t b = block_in_order(i, blocks, shuffled);
        blockIdx = {unsigned(b % gridDim.x), unsigned(b / gridDim.x % gridDim.y), unsigned(b / gridDim.x / gridDim.y)};
        run_block();
    }
}

}  // namespace

// ----------------------------------------------------------------------------------------------------------------- reports

int current_thread() { return current ? running : -1; }

Index3 thread_index(int thread) { return index_of(thread); }

const char* text_of(const Place& place) {
    static char texts[4][256];
    static int next = 0;
    char* text = texts[next++ % 4];
    const char* folder = place.file ? strrchr(place.file, '/') : nullptr;
    if (place.file)
        snprintf(text, sizeof texts[0], "%s:%d", folder ? folder + 1 : place.file, place.line);
    else
        snprintf(text, sizeof texts[0], "@%lx@", (unsigned long)((const char*)place.address - __ehdr_start));
    return text;
}

void report(const char* kind, Place place, const char* format, ...) {
    snprintf(found->kind, sizeof found->kind, "%s", kind);
    snprintf(found->place, sizeof found->place, "%s", text_of(place));
    found->block = blockIdx;
    found->thread = index_of(running);
    va_list values;
    va_start(values, format);
    vsnprintf(found->text, sizeof found->text, format, values);
    va_end(values);
    _longjmp(end_of_launch, 1);
}

// ------------------------------------------------------------------------------------------------------- called by kernels

EMULATOR_FOR_KERNELS char* emulator_dynamic_shared() { return dynamic_shared; }

EMULATOR_FOR_KERNELS unsigned emulator_lane() { return running % 32; }

EMULATOR_FOR_KERNELS void emulator_block_barrier(const char* file, int line) { wait(State::AtBarrier, {file, line}); }

EMULATOR_FOR_KERNELS void emulator_warp_barrier(unsigned mask, const char* file, int line) {
    Exchange mine;
    mine.mask = mask;
    mine.barrier = true;
    meet(mine, {file, line});
}

EMULATOR_FOR_KERNELS unsigned emulator_ballot(unsigned mask, bool vote, const char* file, int line) {
    Exchange mine;
    mine.mask = mask;
    mine.vote = vote;
    return meet(mine, {file, line}).ballot;
}

EMULATOR_FOR_KERNELS void emulator_shuffle(unsigned mask, void* value, unsigned size, int source, const char* file, int line) {
    Exchange mine;
    mine.mask = mask;
    mine.size = size;
    mine.source = source & 31;
    memcpy(&mine.sent, value, size);
    memcpy(value, &meet(mine, {file, line}).received, size);
}

EMULATOR_FOR_KERNELS void emulator_assertion_failed(const char* condition, const char* file, int line) {
    report("assertion", {file, line}, "the assertion %s does not hold", condition);
}

// ------------------------------------------------------------------------------------------------------- called by launch.py

// Tell where the library has a shared array or, without a name, a gap between them; after it was loaded.
EMULATOR_EXPORT void emulator_add_shared(const char* name, size_t offset, size_t bytes) {
    if (*name) shared_arrays.push_back({__ehdr_start + offset, bytes});
    checker_add_shared(name, {__ehdr_start + offset, bytes});
}

// Run the kernel over the grid. Returns 0, or 1 with the report filled in. With `checked`, `arrays` is all that it may touch.
EMULATOR_EXPORT int emulator_launch(void (*entry)(void**), void** arguments, const unsigned* grid, const unsigned* block,
                                    size_t shared_bytes, int which_order, unsigned seed, int checked, int array_count,
                                    Array* arrays, Report* the_report) {
    kernel = entry;
    kernel_arguments = arguments;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    thread_count = block[0] * block[1] * block[2];
    dynamic_bytes = shared_bytes;
    order = Order(which_order);
    shuffler.seed(seed);
    found = the_report;
    if (!stacks) {
        stacks = (char*)mmap(nullptr, MOST_THREADS * STACK_BYTES, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        abandon_fibers();
    }
    int failed = _setjmp(end_of_launch);
    if (!failed) {
        Range room = {dynamic_shared, MOST_SHARED}, locals = {stacks, MOST_THREADS * STACK_BYTES};
        if (checked) checker_begin(arrays, array_count, room, shared_bytes, locals);
        run_grid();
    } else {
        current = nullptr;
        abandon_fibers();
    }
    if (checked) checker_end(failed);
    fflush(stdout);  // what the kernel printed
    return failed;
}
