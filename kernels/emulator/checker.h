// The checked mode: every access to memory passes here first, and what a kernel must not do ends the launch with a report.
#pragma once
#include "runtime.h"

// An argument array of a launch, as launch.py describes it.
struct Array {
    char* data;
    size_t bytes;
    size_t element_bytes;
    int read_only;        // the kernel takes it as const
    const char* name;     // the parameter's
    char** argument;      // where the kernel will read the address from
    uint8_t* written;     // a flag for each element of an array that came from empty(), else null
};

struct Range {
    char* begin;
    size_t bytes;

    bool holds(const char* p) const { return p >= begin && p < begin + bytes; }
};

// Where the library has a __shared__ array or, without a name, one of the gaps between them.
void checker_add_shared(const char* name, Range range);

// `dynamic_room` is what may be asked for, `dynamic_bytes` what was; threads keep local variables in `stacks`.
void checker_begin(Array* arrays, int count, Range dynamic_room, size_t dynamic_bytes, Range stacks);
void checker_end(bool failed);

void checker_block(uint32_t number);               // the next block starts
void checker_barrier();                            // all threads of the block met
void checker_warp_met(int warp, uint32_t lanes);   // these lanes of a warp met at a __syncwarp
