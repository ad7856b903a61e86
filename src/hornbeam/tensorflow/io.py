"""``tf.io``: files, local ones only."""

from __future__ import annotations

import glob
import os
import shutil
from typing import Any, BinaryIO, TextIO

from hornbeam.tensorflow.names import absent


def GFile(name: str, mode: str = "r") -> BinaryIO | TextIO | Any:
    """An open file, as from ``open``; text is UTF-8."""
    return open(name, mode, encoding=None if "b" in mode else "utf-8")


class gfile:
    """``tf.io.gfile``."""

    GFile = staticmethod(GFile)
    exists = staticmethod(os.path.exists)
    isdir = staticmethod(os.path.isdir)
    listdir = staticmethod(os.listdir)
    mkdir = staticmethod(os.mkdir)
    remove = staticmethod(os.remove)
    rmtree = staticmethod(shutil.rmtree)
    join = staticmethod(os.path.join)
    walk = staticmethod(os.walk)
    stat = staticmethod(os.stat)

    @staticmethod
    def makedirs(path: str) -> None:
        """Make a folder and those above it, if they are not there."""
        os.makedirs(path, exist_ok=True)

    @staticmethod
    def glob(pattern: str) -> list[str]:
        """The files that fit the pattern."""
        return glob.glob(pattern)

    @staticmethod
    def copy(src: str, dst: str, overwrite: bool = False) -> None:
        """Copy a file. Raises FileExistsError if there is one and ``overwrite`` is False."""
        if os.path.exists(dst) and not overwrite:
            raise FileExistsError(dst)
        shutil.copyfile(src, dst)

    @staticmethod
    def rename(src: str, dst: str, overwrite: bool = False) -> None:
        """Rename a file. Raises FileExistsError if there is one and ``overwrite`` is False."""
        if os.path.exists(dst) and not overwrite:
            raise FileExistsError(dst)
        os.replace(src, dst)


__getattr__ = absent(__name__, globals())
