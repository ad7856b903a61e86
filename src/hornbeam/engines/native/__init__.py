"""The native engine: Programs become machine code through LLVM. ``pipeline`` is the page to start from."""
