"""Every exception Hornbeam raises on purpose.

    HornbeamError
    ├── InvalidArgumentError (ValueError)   an argument whose value does not fit
    │   ├── ShapeError                      shapes that do not fit an operation
    │   └── FeedError                       a placeholder not fed, or fed with the wrong thing
    ├── DTypeError (TypeError)              dtypes that do not fit, or a cast that would lose values
    ├── GradientError (ValueError)          a gradient that does not exist, or a tape used wrongly
    ├── TracingError (TypeError)            a symbolic tensor used where a value is needed
    ├── SessionError (RuntimeError)
    │   ├── SessionClosedError              the session, or a variable's home, was closed
    │   └── UninitializedVariableError      a variable without a value in this session
    ├── FetchError (ValueError)             something that cannot be fetched
    ├── NonFiniteError (ArithmeticError)    a NaN or infinity made of finite numbers, with HORNBEAM_NANS=1
    ├── RetraceError (ValueError)           a function that creates variables on a later call
    ├── StrictModeError (RuntimeError)      what a ledger would have noted, in a strict session
    ├── UnsafeFileError (ValueError)        a model file that does what no honest one does
    ├── ExportError (ValueError)            a program or model that cannot be written in another format
    │   └── UnsupportedFormatError (NotImplementedError)  a format that other backends of Keras write
    ├── MissingPackageError (ImportError)   a package that something optional needs is not installed
    └── KerasSetupError (ImportError)       Keras cannot be made to use this backend

Each also derives from the builtin in parentheses, so ``except ValueError`` keeps working. A message says what went
wrong (with shapes and names), why it usually happens, the fix as code, and the user's own line. All of them take one
string, because Keras re-raises errors with more context as ``type(e)(message)``.
"""

from __future__ import annotations

import functools
import os
import sys

_PACKAGE_DIRS = (
    os.path.dirname(os.path.abspath(__file__)) + os.sep,
    os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "keras_hornbeam") + os.sep,
)


class HornbeamError(Exception):
    """Base of all errors raised on purpose."""


class InvalidArgumentError(HornbeamError, ValueError):
    """An argument whose value does not fit: a shape, a feed, an assertion about tensors that does not hold."""


class ShapeError(InvalidArgumentError):
    """Shapes that do not fit the operation."""


class DTypeError(HornbeamError, TypeError):
    """Dtypes that do not fit the operation, or a conversion that would lose values."""


class GradientError(HornbeamError, ValueError):
    """A gradient that does not exist, or a tape used in a way that cannot give one."""


class TracingError(HornbeamError, TypeError):
    """A symbolic tensor was used where Python needs a value."""


class SessionError(HornbeamError, RuntimeError):
    """A session was used wrongly."""


class SessionClosedError(SessionError):
    """A closed session, or a variable whose home session is closed, was used."""


class UninitializedVariableError(SessionError):
    """A variable has no value in the session that reads it."""


class FeedError(InvalidArgumentError):
    """A placeholder was not fed, or was fed a value of the wrong shape or dtype."""


class FetchError(HornbeamError, ValueError):
    """Something that is not part of the session's graph was fetched."""


class NonFiniteError(HornbeamError, ArithmeticError):
    """An operation made a NaN or an infinity of finite numbers while ``HORNBEAM_NANS=1``."""


class RetraceError(HornbeamError, ValueError):
    """A traced function did something that is only allowed in its first trace."""


class StrictModeError(HornbeamError, RuntimeError):
    """A strict session met what other sessions only note in their ledger."""


class UnsafeFileError(HornbeamError, ValueError):
    """A model file reaches outside itself, asks for more memory than its size warrants, or names code to run."""


class ExportError(HornbeamError, ValueError):
    """A program or model cannot be written in the format that was asked for."""


class UnsupportedFormatError(ExportError, NotImplementedError):
    """A model cannot be written in this format here, but on another backend of Keras."""


class MissingPackageError(HornbeamError, ImportError):
    """A package that something optional needs is not installed."""


class KerasSetupError(HornbeamError, ImportError):
    """Keras cannot be made to use Hornbeam in this process or environment."""


@functools.cache
def is_own_file(filename: str) -> bool:
    """Whether a code object's file belongs to the runtime (or Keras, NumPy, the standard library), not to the user."""
    standard = filename.startswith(_STANDARD_LIBRARY) and "-packages" + os.sep not in filename
    return standard or filename.startswith((*_PACKAGE_DIRS, "<frozen")) or any(part in filename for part in _BETWEEN)


_STANDARD_LIBRARY = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_BETWEEN = [
    os.sep + os.path.join(*path, "")
    for path in (("keras", "src"), ("site-packages", "numpy"), ("site-packages", "optree"))
]


def user_line() -> str:
    """``file:line`` of the innermost frame that is the user's own, or ``""`` outside any user code."""
    frame = sys._getframe(1)
    while frame is not None:
        if not is_own_file(frame.f_code.co_filename):
            return f"{_shown(frame.f_code.co_filename)}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


@functools.cache
def _shown(filename: str) -> str:
    """A file as a person would name it from here."""
    try:
        relative = os.path.relpath(filename)
    except (ValueError, OSError):  # on another drive, or the working directory is gone
        return filename
    return filename if filename.startswith("<") or relative.startswith(os.pardir) else relative


def explain(what: str, *, why: str = "", fix: str = "", line: str | None = None) -> str:
    """Compose a message in the house form: what, why it usually happens, the fix as code, the user's line."""
    parts = [what]
    if why:
        parts.append(f"  {why}")
    if fix:
        parts.append(f"  Fix: {fix}")
    line = user_line() if line is None else line
    if line:
        parts.append(f"  at {line}")
    return "\n".join(parts)
