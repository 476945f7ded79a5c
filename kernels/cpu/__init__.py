"""Numba: the same functions compiled for the CPU, parallel and cached on disk."""
