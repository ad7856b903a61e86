"""``tf.compat.v1.logging``: Python's logging, of a logger named "tensorflow"."""

from __future__ import annotations

import logging
import sys

DEBUG, INFO, WARN, ERROR, FATAL = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL


def get_logger() -> logging.Logger:
    """The logger; it writes to standard error if nothing else was set up."""
    found = logging.getLogger("tensorflow")
    if not found.handlers and not logging.getLogger().handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)s:%(name)s:%(message)s"))
        found.addHandler(handler)
    return found


def set_verbosity(v: int) -> None:
    """Write messages of this level and above."""
    get_logger().setLevel(v)


def get_verbosity() -> int:
    """The level from which on messages are written."""
    return get_logger().getEffectiveLevel()


def _writer(level: int):  # type: ignore[no-untyped-def]
    def write(msg: object, *args: object, **kwargs: object) -> None:
        get_logger().log(level, msg, *args, **kwargs)  # type: ignore[arg-type]

    return write


debug, info, warn, error, fatal = map(_writer, (DEBUG, INFO, WARN, ERROR, FATAL))
warning = warn
