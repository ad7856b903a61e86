"""Floor 1: what a computation *is*: rows of primitives, nodes, programs, gradients and rewrites. Runs nothing."""
