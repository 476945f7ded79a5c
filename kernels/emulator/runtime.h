// What the scheduler and the checker know together: the thread that runs, and how a report ends a launch.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#define EMULATOR_EXPORT extern "C" __attribute__((visibility("default")))
#define EMULATOR_FOR_KERNELS extern "C" __attribute__((visibility("hidden")))

struct Index3 {
    unsigned x, y, z;
};

// Where in the source: a file and line, or an address in the machine code that launch.py translates.
struct Place {
    const char* file = nullptr;
    int line = 0;
    const void* address = nullptr;

    bool operator==(const Place& other) const { return line == other.line && !strcmp(file, other.file); }
};

// What a launch found wrong; launch.py reads the same structure.
struct Report {
    char kind[32];
    char place[256];       // file:line, or @hex@
    Index3 block, thread;
    char text[1024];
};

// End the launch with this report. Does not return: the fiber that runs is left for good.
[[noreturn]] void report(const char* kind, Place place, const char* format, ...) __attribute__((format(printf, 3, 4)));

// The place as text; several results may be used in one printf.
const char* text_of(const Place& place);

// The number of the running thread in its block, or -1 while the scheduler itself runs.
int current_thread();
Index3 thread_index(int thread);

extern "C" char __ehdr_start[] __attribute__((visibility("hidden")));  // by the linker: where this library was loaded
