"""Floor 4: the public operations, composites of rows written with ordinary operators."""
