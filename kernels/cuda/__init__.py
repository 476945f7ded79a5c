"""CUDA: each primitive as kernels in a .cu file, launched on a GPU through CuPy or, unmodified, on the CPU by the emulator."""
