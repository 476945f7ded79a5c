"""Small awkward values for the symbols of every equation: what ``minseg equations --check`` evaluates."""
