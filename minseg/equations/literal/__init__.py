"""Each equation as the loops that a beginner would write: one ``for`` for each sum, variables named like the symbols.

Slow on purpose, and the bridge between the printed formula and the fast kernels: both are compared with these. The function for
``conv.corr2d`` is ``conv_corr2d``; its parameters are the equation's symbols, and sizes are read off the arrays' shapes.
"""
