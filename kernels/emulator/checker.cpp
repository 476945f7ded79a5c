// Shadow memory.
#include "checker.h"

void checker_add_shared_array(const char*, char*, size_t) {}
void checker_begin(Array*, int, char*, size_t, Range) {}
void checker_end() {}
void checker_block() {}
void checker_barrier() {}
void checker_warp_met(int, unsigned) {}
EMULATOR_FOR_KERNELS void emulator_before_atomic(void*, unsigned, void*) {}
