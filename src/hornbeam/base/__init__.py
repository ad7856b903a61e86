"""Floor 0: dtypes, specs and trees. Knows nothing of what is computed."""
