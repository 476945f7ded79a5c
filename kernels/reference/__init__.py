"""NumPy: each equation in plain vectorised form. The oracle that the other backends are compared with."""
