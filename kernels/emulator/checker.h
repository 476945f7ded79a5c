// Shadow memory: for every cell that a kernel may touch, who touched it last, and whether a barrier came between.
#pragma once
#include "runtime.h"

// An argument array of a launch. `written` has a flag for each element of an array that was allocated but not yet filled.
struct Array {
    char* data;
    size_t bytes;
    size_t element_bytes;
    int read_only;
    const char* name;
    uint8_t* written;
};

struct Range {
    char* begin;
    size_t bytes;
};

void checker_add_shared_array(const char* name, char* data, size_t bytes);
void checker_begin(Array* arrays, int count, char* dynamic_shared, size_t dynamic_bytes, Range stacks);
void checker_end();

void checker_block();                                 // the next block starts
void checker_barrier();                               // all threads of the block met
void checker_warp_met(int warp, unsigned lanes);      // these lanes of a warp met
