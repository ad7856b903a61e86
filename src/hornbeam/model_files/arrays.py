"""Arrays by name in an `.npz` file, which is a ZIP file of `.npy` files."""

from __future__ import annotations

import math
from zipfile import BadZipFile, ZipFile

import numpy as np

from hornbeam.model_files.limits import refusal
from hornbeam.model_files.zips import check_archive

ENDING = ".npy"


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """All arrays of a file. Raises UnsafeFileError for a file that holds anything else, or declares what it lacks."""
    try:
        with ZipFile(path) as archive:
            check_archive(archive, path)
            return {name.removesuffix(ENDING): _read(archive, name, path) for name in archive.namelist()}
    except BadZipFile as error:
        raise refusal(path, f"it is not an archive of arrays: {error}.", "It is cut short, or another file.") from None


def _read(archive: ZipFile, name: str, path: str) -> np.ndarray:
    with archive.open(name) as file:
        try:
            version = np.lib.format.read_magic(file)
            header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}[version[0]]
            shape, _, dtype = header(file)
        except (ValueError, KeyError) as error:
            raise refusal(path, f"the member {name!r} is not an array: {error}.", "Only arrays are read.") from None
    if dtype.hasobject:
        raise refusal(
            path,
            f"the member {name!r} holds pickled Python objects.",
            "Unpickling runs code that the file names, so it is never done.",
        )
    size, stored = math.prod(shape) * dtype.itemsize, archive.getinfo(name).file_size
    if size > stored or min(shape, default=0) < 0:
        raise refusal(
            path,
            f"the member {name!r} declares {dtype}{list(shape)}, {size:,} bytes, and has {stored:,}.",
            "Memory would be taken for what the file does not hold.",
        )
    with archive.open(name) as file:
        out: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
        return out
