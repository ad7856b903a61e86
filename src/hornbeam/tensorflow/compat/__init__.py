"""``tf.compat``: TensorFlow 1 as ``v1``, and this TensorFlow as ``v2``."""

from hornbeam.tensorflow.names import absent

_LAZY = {"v1": "hornbeam.tensorflow.compat.v1", "v2": "hornbeam.tensorflow"}


def as_text(bytes_or_text: str | bytes, encoding: str = "utf-8") -> str:
    """Text, decoded if it is bytes."""
    return bytes_or_text.decode(encoding) if isinstance(bytes_or_text, bytes) else bytes_or_text


def as_bytes(bytes_or_text: str | bytes, encoding: str = "utf-8") -> bytes:
    """Bytes, encoded if it is text."""
    return bytes_or_text if isinstance(bytes_or_text, bytes) else bytes_or_text.encode(encoding)


as_str = as_text
__getattr__ = absent(__name__, globals(), _LAZY)
