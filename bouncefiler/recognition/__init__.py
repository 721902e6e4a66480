"""WHAT IS IT? Bytes in, Verdict out. Pure: a verdict depends on the bytes and the rules alone."""
