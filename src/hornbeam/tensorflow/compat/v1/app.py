"""``tf.compat.v1.app``: ``run`` a program's ``main``, with ``flags`` from its command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from hornbeam.tensorflow.names import absent


class _Flags:
    """Flags as attributes; the command line is read when the first is asked for."""

    def __init__(self) -> None:
        self.__dict__["_parser"] = argparse.ArgumentParser(add_help=False)
        self.__dict__["_values"] = None
        self.__dict__["_truths"] = set()

    def _read(self, arguments: Sequence[str]) -> list[str]:
        alone = {f"--{name}": f"--{name}=true" for name in self._truths}
        values, rest = self._parser.parse_known_args([alone.get(a, a) for a in arguments])
        self.__dict__["_values"] = vars(values)
        return rest

    def __call__(self, argv: Sequence[str], known_only: bool = False) -> list[str]:
        return [argv[0], *self._read(argv[1:])]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._values is None:
            self._read(sys.argv[1:])
        if name not in self._values:
            raise AttributeError(f"there is no flag {name!r}. Flags: {', '.join(self._values)}.", name=name)
        return self._values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if self._values is None:
            self._read(sys.argv[1:])
        self._values[name] = value

    def flag_values_dict(self) -> dict[str, Any]:
        """All flags by name."""
        if self._values is None:
            self._read(sys.argv[1:])
        return dict(self._values)


def _truth(text: str) -> bool:
    if text.lower() in ("1", "true", "t", "yes", "y"):
        return True
    if text.lower() in ("0", "false", "f", "no", "n"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def _define(kind: Callable[[str], Any]) -> Any:
    def define(name: str, default: Any, help: str = "", **options: Any) -> None:
        FLAGS._parser.add_argument(f"--{name}", type=kind, default=default, help=help, dest=name)
        if kind is _truth:
            FLAGS._truths.add(name)
            FLAGS._parser.add_argument(f"--no{name}", action="store_false", dest=name)
            FLAGS._parser.set_defaults(**{name: default})
        FLAGS.__dict__["_values"] = None

    return define


FLAGS = _Flags()


class flags:
    """``tf.compat.v1.flags``."""

    FLAGS = FLAGS
    DEFINE_string = staticmethod(_define(str))
    DEFINE_integer = staticmethod(_define(int))
    DEFINE_float = staticmethod(_define(float))
    DEFINE_boolean = DEFINE_bool = staticmethod(_define(_truth))
    DEFINE_list = staticmethod(_define(lambda text: text.split(",")))

    @staticmethod
    def DEFINE_enum(name: str, default: Any, enum_values: Sequence[str], help: str = "") -> None:
        """A flag with one of several values."""
        FLAGS._parser.add_argument(f"--{name}", choices=list(enum_values), default=default, help=help, dest=name)
        FLAGS.__dict__["_values"] = None


def run(main: Callable[[list[str]], Any] | None = None, argv: Sequence[str] | None = None) -> None:
    """Call ``main`` with what is left of the command line after the flags, then exit with what it returns."""
    arguments = list(sys.argv if argv is None else argv)
    main = main or sys.modules["__main__"].main  # type: ignore[attr-defined]
    assert main is not None
    sys.exit(main(FLAGS(arguments)))


__getattr__ = absent(__name__, globals())
