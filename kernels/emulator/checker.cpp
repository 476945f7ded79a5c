// Shadow memory. Each cell of memory remembers who wrote it last and who read it since. An access is a race if it meets one by
// another thread, not both reads and not both atomic, and nothing came between that makes the one happen before the other: a
// __syncthreads of the block, or a __syncwarp in which both took part. (Shuffles and votes order no memory, says CUDA.) Between
// blocks nothing does; a kernel that passes data from block to block with __threadfence and flags is reported.
//
// That is decided from what the kernel does, not from what came out: a race is found in any order of threads, in the first run.
//
// Argument arrays are moved into memory of their own with wide gaps around, so that an index that runs over the end of one does
// not land in another.
#include "checker.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>
#include <string>
#include <vector>

extern "C" Index3 threadIdx, blockIdx, blockDim, gridDim;
extern "C" char _end[] __attribute__((visibility("hidden")));  // by the linker: the end of this library

namespace {

enum Spread : uint8_t { OneThread, OneWarp, OneBlock, ManyBlocks };

// The last access to a cell or, if several are not ordered among themselves (reads, atomics), what covers them all.
struct Access {
    uint32_t block = 0;     // 1 + the block's number in the grid; 0: none
    uint32_t epoch = 0;     // how many barriers the block had passed
    uint32_t meeting = 0;   // how many __syncwarp its warp had done
    uint32_t lanes = 0;     // which lanes of the warp
    uint32_t code = 0;      // where in the library
    uint16_t thread = 0;
    Spread spread = OneThread;
    bool atomic = false;
};

struct Cell {
    Access write, read;
};

struct Region {
    std::string name;
    char* data;              // where the kernel sees it
    size_t bytes;
    size_t element_bytes;    // 0: not known, as for shared memory
    bool shared, read_only;
    char* original;          // where it came from
    uint8_t* written;
    size_t cell_bytes;
    Cell* cells;

    bool holds(const char* p) const { return p >= data && p < data + bytes; }
};

struct Mapping {
    void* begin;
    size_t bytes;
};

// For each pair of lanes: after how many __syncwarp of the warp they last met, directly or through others.
struct Warp {
    uint32_t meetings;
    uint32_t met[32][32];
};

struct SharedArray {
    std::string name;
    Range range;
};

std::vector<SharedArray> shared_arrays;
std::vector<Region> regions;
std::vector<Mapping> mappings;
Region* last_hit;
Range dynamic_room, stacks;
bool active = false;
int busy;                    // the thread that made the last access,
uint64_t accesses_in_a_row;  // and how many in a row
constexpr uint64_t MOST_ACCESSES = 1 << 25;
uint32_t block, epoch;
Warp warps[32];

// ---------------------------------------------------------------------------------------------------------------- memory

// Zeroed memory that costs nothing until it is touched.
char* reserve(size_t bytes) {
    void* begin = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (begin == MAP_FAILED) report("memory", {}, "no memory left to check an access to %zu bytes", bytes);
    mappings.push_back({begin, bytes});
    return (char*)begin;
}

void give_cells(Region& region, size_t cell_bytes) {
    region.cell_bytes = cell_bytes;
    region.cells = (Cell*)reserve((region.bytes / cell_bytes + 1) * sizeof(Cell));
}

// A narrower access than any before: cells of its size, each with the history of the cell it was part of.
void refine(Region& region, size_t cell_bytes) {
    const Cell* wide = region.cells;
    size_t ratio = region.cell_bytes / cell_bytes;
    give_cells(region, cell_bytes);
    for (size_t i = 0; i < region.bytes / cell_bytes; ++i) region.cells[i] = wide[i / ratio];
}

void add_region(Region region, size_t cell_bytes) {
    if (!region.read_only) give_cells(region, cell_bytes);
    regions.push_back(region);
}

// Arrays that overlap (the same one given twice, or views of one) are one region.
std::vector<Region> merged(Array* arrays, int count) {
    std::vector<Array*> sorted;
    for (int i = 0; i < count; ++i)
        if (arrays[i].bytes) sorted.push_back(&arrays[i]);
    std::sort(sorted.begin(), sorted.end(), [](Array* a, Array* b) { return a->data < b->data; });
    std::vector<Region> found;
    for (Array* a : sorted) {
        Region* before = found.empty() ? nullptr : &found.back();
        if (before && a->data < before->original + before->bytes) {
            before->bytes = std::max(before->bytes, size_t(a->data + a->bytes - before->original));
            before->element_bytes = std::min(before->element_bytes, a->element_bytes);
            before->read_only = before->read_only && a->read_only;
            if (before->name != a->name) before->name += std::string("/") + a->name;
        } else {
            bool read_only = a->read_only;
            found.push_back({a->name, nullptr, a->bytes, a->element_bytes, false, read_only, a->data, a->written, 0, nullptr});
        }
    }
    return found;
}

// Give the arrays a place with gaps as wide as the largest of them, and the kernel their new addresses.
void move_apart(Array* arrays, int count) {
    std::vector<Region> found = merged(arrays, count);
    size_t gap = 1 << 20, total = 0;
    for (const Region& region : found) gap = std::max(gap, region.bytes);
    gap = (gap + 4095) / 4096 * 4096;
    for (const Region& region : found) total += region.bytes + 2 * gap;
    if (!total) return;
    char* place = reserve(total + gap);
    for (Region& region : found) {
        place += gap;
        region.data = place + (uintptr_t)region.original % 16;  // as well aligned as it was
        memcpy(region.data, region.original, region.bytes);
        for (int i = 0; i < count; ++i)
            if (arrays[i].data >= region.original && arrays[i].data < region.original + region.bytes)
                *arrays[i].argument = region.data + (arrays[i].data - region.original);
        add_region(region, std::min<size_t>(region.element_bytes, 8));
        place += (region.bytes + 4095) / 4096 * 4096;
    }
}

// ------------------------------------------------------------------------------------------------------------------ words

// y[40]; of shared memory, whose type is not known here, counted in units of this access.
std::string element(const Region& region, const char* p, unsigned bytes) {
    long unit = region.element_bytes ? region.element_bytes : bytes;
    long offset = p - region.data;
    long index = offset >= 0 ? offset / unit : -((-offset + unit - 1) / unit);
    return region.name + "[" + std::to_string(index) + "]";
}

std::string extent(const Region& region, unsigned bytes) {
    if (region.element_bytes) return std::to_string(region.bytes / region.element_bytes) + " elements";
    return std::to_string(region.bytes / bytes) + " elements of " + std::to_string(bytes) + " bytes";
}

std::string text_of(Index3 index) {
    return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + ")";
}

// ------------------------------------------------------------------------------------------------------------------ races

// The lanes of the record that this thread has not met since.
uint32_t unmet(const Access& record, int thread) {
    const uint32_t* met = warps[thread / 32].met[thread % 32];
    uint32_t others = record.lanes & ~(1u << thread % 32), found = 0;
    for (uint32_t lanes = others; lanes; lanes &= lanes - 1)
        if (met[__builtin_ctz(lanes)] <= record.meeting) found |= lanes & -lanes;
    return found;
}

// Whether all that the record stands for happened before what this thread does now.
bool happened_before(const Access& record, int thread, bool shared) {
    if (!record.block) return true;
    if (record.block != block) return shared;  // each block has its own shared memory
    if (record.spread == ManyBlocks) return false;
    if (record.epoch != epoch) return true;
    if (record.spread == OneBlock || record.thread / 32 != thread / 32) return false;
    return !unmet(record, thread);
}

// Let the record stand for this access too.
void remember(Access& record, const Access& mine, bool shared) {
    if (happened_before(record, mine.thread, shared)) {
        record = mine;
        return;
    }
    Access both = mine;
    if (record.block != mine.block || record.spread == ManyBlocks) {
        both.spread = ManyBlocks;
    } else if (record.spread == OneBlock || record.thread / 32 != mine.thread / 32) {
        both.spread = OneBlock;
    } else {
        both.spread = OneWarp;
        both.lanes |= record.lanes;
        both.meeting = std::min(record.meeting, mine.meeting);
    }
    record = both;
}

// A thread of the record that is not this one, as far as the record knows.
std::string who(const Access& record, int thread) {
    int other = record.thread;
    uint32_t number = record.block - 1;
    if (record.block != block) {
        Index3 index = {number % gridDim.x, number / gridDim.x % gridDim.y, number / gridDim.x / gridDim.y};
        return "thread " + text_of(thread_index(other)) + " of block " + text_of(index);
    }
    if (record.spread == OneWarp && other / 32 == thread / 32) other = other / 32 * 32 + __builtin_ctz(unmet(record, thread));
    if (other == thread) return record.spread == ManyBlocks ? "a thread of another block" : "another thread of the block";
    return "thread " + text_of(thread_index(other));
}

[[noreturn]] void report_race(const Region& region, const char* p, unsigned bytes, const char* verb, const Access& other,
                              const char* other_verb, Place place) {
    bool one_block = other.block == block && other.spread != ManyBlocks;
    const char* missing = one_block ? "with no barrier between them" : "and nothing orders two blocks";
    Place other_place{nullptr, 0, __ehdr_start + other.code};
    report("data race", place, "it %s %s, which %s %s at %s, %s", verb, element(region, p, bytes).c_str(),
           who(other, current_thread()).c_str(), other_verb, text_of(other_place), missing);
}

// --------------------------------------------------------------------------------------------------------------- accesses

Region* region_at(const char* p) {
    if (last_hit && last_hit->holds(p)) return last_hit;
    for (Region& region : regions)
        if (region.holds(p)) return last_hit = &region;
    return nullptr;
}

const Region* nearest(const char* p) {
    auto distance = [p](const Region& r) { return p < r.data ? r.data - p : p - (r.data + r.bytes); };
    const Region* best = nullptr;
    for (const Region& region : regions)
        if (!best || distance(region) < distance(*best)) best = &region;
    return best && distance(*best) < (1 << 20) ? best : nullptr;
}

bool in_gap(const char* p) {
    if (dynamic_room.holds(p)) return true;
    for (const SharedArray& array : shared_arrays)
        if (array.name.empty() && array.range.holds(p)) return true;
    return false;
}

// No region holds this address: it may still be a constant table of the module.
void outside(const char* p, unsigned bytes, bool write, Place place) {
    const char* verb = write ? "writes" : "reads";
    bool in_module = p >= __ehdr_start && p < _end && !in_gap(p);
    if (in_module && !write) return;
    if (in_module) report("write to a constant", place, "it writes to a variable of the module, which kernels may only read");
    if (const Region* region = nearest(p))
        report("out of bounds", place, "it %s %s, but %s has %s", verb, element(*region, p, bytes).c_str(), region->name.c_str(),
               extent(*region, bytes).c_str());
    report("out of bounds", place, "it %s %u bytes at an address that is in no array", verb, bytes);
}

void expect_written(const Region& region, const Cell& cell, const char* p, unsigned bytes, Place place) {
    if (region.shared && cell.write.block != block)
        report("uninitialised", place, "it reads %s, which no thread of this block has written so far",
               element(region, p, bytes).c_str());
}

// Arrays from empty(): a flag for each element, kept from launch to launch.
void follow_written(Region& region, const char* p, unsigned bytes, bool read, bool write, Place place) {
    size_t first = (p - region.data) / region.element_bytes, last = (p + bytes - 1 - region.data) / region.element_bytes;
    for (size_t i = first; i <= last; ++i) {
        if (read && !region.written[i])
            report("uninitialised", place, "it reads %s, which comes from empty() and was never written",
                   element(region, region.data + i * region.element_bytes, bytes).c_str());
        if (write) region.written[i] = 1;
    }
}

// One thread runs until it waits: one that spins until another does something would spin for ever.
void expect_an_end(int thread, Place place) {
    accesses_in_a_row = thread == busy ? accesses_in_a_row + 1 : 0;
    busy = thread;
    if (accesses_in_a_row > MOST_ACCESSES)
        report("endless loop", place, "%llu accesses to memory without an end or a barrier; a thread cannot wait for another in a loop",
               (unsigned long long)MOST_ACCESSES);
}

void access(const void* address, unsigned bytes, bool read, bool write, const void* return_address) {
    int thread = current_thread();
    const char* p = (const char*)address;
    if (!active || thread < 0 || stacks.holds(p)) return;
    Place place{nullptr, 0, return_address};
    expect_an_end(thread, place);
    Region* region = region_at(p);
    if (!region) return outside(p, bytes, write, place);
    bool atomic = read && write;
    const char* verb = atomic ? "updates" : write ? "writes" : "reads";
    if (p + bytes > region->data + region->bytes)
        report("out of bounds", place, "it %s %u bytes at %s, but %s has %s", verb, bytes, element(*region, p, bytes).c_str(),
               region->name.c_str(), extent(*region, bytes).c_str());
    if (write && region->read_only)
        report("write to a constant", place, "it %s %s, but takes %s as const", verb, element(*region, p, bytes).c_str(),
               region->name.c_str());
    if (region->written) follow_written(*region, p, bytes, read, write, place);
    if (region->read_only) return;
    if (bytes < region->cell_bytes) refine(*region, bytes);

    Access mine;
    mine.block = block;
    mine.epoch = epoch;
    mine.meeting = warps[thread / 32].meetings;
    mine.lanes = 1u << thread % 32;
    mine.code = uint32_t((const char*)return_address - __ehdr_start);
    mine.thread = uint16_t(thread);
    mine.atomic = atomic;
    size_t first = (p - region->data) / region->cell_bytes, last = (p + bytes - 1 - region->data) / region->cell_bytes;
    for (size_t i = first; i <= last; ++i) {
        Cell& cell = region->cells[i];
        if (read) expect_written(*region, cell, p, bytes, place);
        if (!(atomic && cell.write.atomic) && !happened_before(cell.write, thread, region->shared))
            report_race(*region, p, bytes, verb, cell.write, cell.write.atomic ? "updated" : "wrote", place);
        if (write && !happened_before(cell.read, thread, region->shared))
            report_race(*region, p, bytes, verb, cell.read, "read", place);
        remember(write ? cell.write : cell.read, mine, region->shared);
    }
}

}  // namespace

// ------------------------------------------------------------------------------------------------- called by the scheduler

void checker_add_shared(const char* name, Range range) { shared_arrays.push_back({name, range}); }

void checker_begin(Array* arrays, int count, Range the_dynamic_room, size_t dynamic_bytes, Range the_stacks) {
    dynamic_room = the_dynamic_room;
    stacks = the_stacks;
    move_apart(arrays, count);
    for (const SharedArray& array : shared_arrays)
        if (!array.name.empty())
            add_region({array.name, array.range.begin, array.range.bytes, 0, true, false, nullptr, nullptr, 0, nullptr}, 4);
    add_region({"dynamic shared memory", dynamic_room.begin, dynamic_bytes, 0, true, false, nullptr, nullptr, 0, nullptr}, 4);
    active = true;
}

void checker_end(bool failed) {
    for (const Region& region : regions)
        if (!failed && region.original && !region.read_only) memcpy(region.original, region.data, region.bytes);
    for (const Mapping& mapping : mappings) munmap(mapping.begin, mapping.bytes);
    mappings.clear();
    regions.clear();
    last_hit = nullptr;
    active = false;
}

void checker_block(uint32_t number) {
    block = number + 1;
    epoch = 0;
    busy = -1;
    if (active) memset(warps, 0, sizeof warps);
}

void checker_barrier() {
    ++epoch;
    busy = -1;
}

void checker_warp_met(int number, uint32_t lanes) {
    if (!active) return;
    Warp& warp = warps[number];
    uint32_t together[32] = {};
    for (int lane = 0; lane < 32; ++lane)
        if (lanes >> lane & 1)
            for (int other = 0; other < 32; ++other) together[other] = std::max(together[other], warp.met[lane][other]);
    ++warp.meetings;
    for (int lane = 0; lane < 32; ++lane) {
        if (!(lanes >> lane & 1)) continue;
        memcpy(warp.met[lane], together, sizeof together);
        for (int other = 0; other < 32; ++other)
            if (lanes >> other & 1) warp.met[lane][other] = warp.meetings;
    }
}

// -------------------------------------------------------------------------------------- called by kernels before each access

EMULATOR_FOR_KERNELS void emulator_before_atomic(void* p, unsigned bytes, void* caller) { access(p, bytes, true, true, caller); }

// What -fsanitize=thread has g++ call. These stand for libtsan, which is not linked.
#define CALLER __builtin_return_address(0)
#define ACCESSES(bytes)                                                                                                   \
    EMULATOR_FOR_KERNELS void __tsan_read##bytes(void* p) { access(p, bytes, true, false, CALLER); }                       \
    EMULATOR_FOR_KERNELS void __tsan_write##bytes(void* p) { access(p, bytes, false, true, CALLER); }                      \
    EMULATOR_FOR_KERNELS void __tsan_unaligned_read##bytes(void* p) { access(p, bytes, true, false, CALLER); }             \
    EMULATOR_FOR_KERNELS void __tsan_unaligned_write##bytes(void* p) { access(p, bytes, false, true, CALLER); }
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)

EMULATOR_FOR_KERNELS void __tsan_read_range(char* p, unsigned long bytes) {
    for (unsigned long i = 0; i < bytes; ++i) access(p + i, 1, true, false, CALLER);
}
EMULATOR_FOR_KERNELS void __tsan_write_range(char* p, unsigned long bytes) {
    for (unsigned long i = 0; i < bytes; ++i) access(p + i, 1, false, true, CALLER);
}
EMULATOR_FOR_KERNELS void __tsan_func_entry(void*) {}
EMULATOR_FOR_KERNELS void __tsan_func_exit() {}
EMULATOR_FOR_KERNELS void __tsan_init() {}

// What -fsanitize=bounds and the like have g++ call; the structures are those of GCC's libubsan.
struct UbsanType {
    uint16_t kind, info;
    char name[1];  // and on
};
struct UbsanData {
    const char* file;
    uint32_t line, column;
    const UbsanType* type;

    Place place() const { return {file, int(line), nullptr}; }
};

struct UbsanTypeMismatch {
    UbsanData where;
    unsigned char log_alignment, kind;
};

// Before each access through a pointer: is the address a multiple of what the type asks for (16 for float4)?
EMULATOR_FOR_KERNELS void __ubsan_handle_type_mismatch_v1(UbsanTypeMismatch* data, const char* p) {
    unsigned alignment = 1u << data->log_alignment;
    const Region* region = active ? region_at(p) : nullptr;
    std::string where = region ? element(*region, p, region->element_bytes ? region->element_bytes : 4) : "an address";
    report("misaligned", data->where.place(), "it takes %s for a %s, but that address is not a multiple of %u", where.c_str(),
           data->where.type->name, alignment);
}
EMULATOR_FOR_KERNELS void __ubsan_handle_out_of_bounds(UbsanData* data, long index) {
    report("out of bounds", data->place(), "index %ld is outside an array of type %s", index, data->type->name);
}
EMULATOR_FOR_KERNELS void __ubsan_handle_shift_out_of_bounds(UbsanData* data, long, long by) {
    report("arithmetic", data->place(), "it shifts %s by %ld bits", data->type->name, by);
}
EMULATOR_FOR_KERNELS void __ubsan_handle_divrem_overflow(UbsanData* data, long a, long b) {
    report("arithmetic", data->place(), "%ld / %ld has no value of type %s", a, b, data->type->name);
}
#define OVERFLOW(operation, sign)                                                                                             \
    EMULATOR_FOR_KERNELS void __ubsan_handle_##operation##_overflow(UbsanData* data, long a, long b) {                         \
        report("arithmetic", data->place(), "%ld " sign " %ld does not fit %s", a, b, data->type->name);                  \
    }
OVERFLOW(add, "+")
OVERFLOW(sub, "-")
OVERFLOW(mul, "*")
EMULATOR_FOR_KERNELS void __ubsan_handle_negate_overflow(UbsanData* data, long a) {
    report("arithmetic", data->place(), "-(%ld) does not fit %s", a, data->type->name);
}
