"""Floor 3: where and when Programs run: sessions, variables, tensors, eager execution, tracing, tapes, graphs."""
