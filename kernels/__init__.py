"""Arithmetic on arrays: every primitive of :mod:`minseg.kernels.spec`, once for each backend.

No gradients and no Tensor here: a kernel takes arrays and returns new ones, and never changes its inputs.
``reference`` is the equation in NumPy, ``cpu`` the same in Numba; both hold files of the same names.
"""
