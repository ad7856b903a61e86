"""``tf.errors``: TensorFlow's names for the errors of this runtime.

Several of its codes are one kind of mistake here; ``except tf.errors.InvalidArgumentError`` catches wrong shapes, wrong
feeds and failed assertions, ``FailedPreconditionError`` variables without a value.
"""

from hornbeam.errors import (
    DTypeError,
    FeedError,
    FetchError,
    HornbeamError,
    InvalidArgumentError,
    SessionClosedError,
    ShapeError,
    UninitializedVariableError,
)
from hornbeam.tensorflow.names import absent

OpError = HornbeamError
FailedPreconditionError = UninitializedVariableError
CancelledError = SessionClosedError


class OutOfRangeError(HornbeamError, EOFError):
    """An iterator has no more elements."""


class NotFoundError(HornbeamError, KeyError):
    """A name that a checkpoint does not have."""

    def __str__(self) -> str:
        return Exception.__str__(self)  # KeyError would quote it


__all__ = [
    "OpError", "InvalidArgumentError", "FailedPreconditionError", "CancelledError", "OutOfRangeError", "NotFoundError",
    "DTypeError", "FeedError", "FetchError", "ShapeError",
]  # fmt: skip
__getattr__ = absent(__name__, globals())
