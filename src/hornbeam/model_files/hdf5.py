"""HDF5 files: weights (`.weights.h5`, also inside a `.keras`) and whole models in the old format (`.h5`)."""

from __future__ import annotations

from typing import Any

from hornbeam.model_files.limits import Tally, refusal

# Filters that every build of HDF5 has, or h5py brings. For any other the library looks for a plug-in, which is code.
FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32", 4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf"}
KINDS = "biufcSV"  # numbers, bytes of fixed length, and what HDF5 has no name for (bfloat16)


def check_hdf5(opened: Any, file: str) -> int:
    """The bytes that the datasets of an open h5py.File declare.

    Only what describes the data is read. Raises UnsafeFileError unless all of it is in this file, each group has one
    place, and the shapes are covered by what is stored.
    """
    import h5py

    tally = Tally(file)
    size = opened.id.get_filesize()
    _check_attributes(opened, "/", size, file)
    groups = {_address(opened)}
    pending = [opened["/"]]
    while pending:
        group = pending.pop()
        for name in group:
            path = f"{group.name.rstrip('/')}/{name}"
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise refusal(file, *_link(path, link))
            found = group[name]
            _check_attributes(found, path, size, file)
            if isinstance(found, h5py.Dataset):
                _check_dataset(found, path, file)
                tally.add(f"the dataset {path!r}", _declared(found), found.id.get_storage_size())
            elif isinstance(found, h5py.Group):
                if _address(found) in groups:
                    raise refusal(
                        file,
                        f"the group {path!r} is also found under another name.",
                        "Groups that contain themselves never end for who walks through them.",
                    )
                groups.add(_address(found))
                pending.append(found)
    return tally.declared


def _link(path: str, link: Any) -> tuple[str, str]:
    target = getattr(link, "path", "?")
    if hasattr(link, "filename"):
        return (
            f"{path!r} is an external link (h5py.ExternalLink), to {target!r} in {link.filename!r}.",
            "Reading it would read that file, whatever it is, into the model.",
        )
    return (
        f"{path!r} is a soft link (h5py.SoftLink), to {target!r}.",
        "Keras stores every weight in its own place and links none.",
    )


def _address(group: Any) -> Any:
    import h5py

    return h5py.h5o.get_info(group.id).addr


def _declared(dataset: Any) -> int:
    size: int = dataset.dtype.itemsize
    for n in dataset.shape or ():
        size *= n
    return size if dataset.shape is not None else 0


def _check_dataset(dataset: Any, path: str, file: str) -> None:
    if dataset.external:
        names = ", ".join(repr(part[0]) for part in dataset.external)
        raise refusal(
            file,
            f"the dataset {path!r} is stored outside this file, in {names}.",
            "Reading it would read that file, whatever it is, into the model.",
        )
    if dataset.is_virtual:
        raise refusal(
            file,
            f"the dataset {path!r} is virtual: put together from other datasets and files.",
            "Reading it would read those files, whatever they are, into the model.",
        )
    if dataset.dtype.kind not in KINDS:
        raise refusal(
            file,
            f"the dataset {path!r} has values of variable length, or references ({dataset.dtype}).",
            "Weights are arrays of numbers; what else is stored can be of any size.",
        )
    settings = dataset.id.get_create_plist()
    for i in range(settings.get_nfilters()):
        number, *_, name = settings.get_filter(i)
        if number not in FILTERS:
            raise refusal(
                file,
                f"the dataset {path!r} goes through the filter {number} ({name.decode(errors='replace')}).",
                f"HDF5 would load a plug-in for it, which is code. Known are {', '.join(FILTERS.values())}.",
            )


def _check_attributes(found: Any, path: str, size: int, file: str) -> None:
    """Each string of variable length in an array may be the same large one, so all together may be any size."""
    tally = Tally(file)
    for name in found.attrs:
        attribute = found.attrs.get_id(name)
        count = 1
        for n in attribute.shape or ():
            count *= n
        if attribute.dtype.kind == "O" and count > 1:
            # Counted as what it could be at the most: the whole file, as often as it has elements.
            tally.add(f"the attribute {name!r} of {path!r}", count * size, count * size)
