"""Hornbeam: the runtime under Keras, with a session that you can hold, look into and close."""

__version__ = "0.1.0"
