"""Archives: `.keras` files and `.npz` checkpoints are ZIP files."""

from __future__ import annotations

import stat
from zipfile import ZipFile, ZipInfo

from hornbeam.model_files.limits import MEMBERS, Tally, refusal

ENCRYPTED = 0x1
LOCAL_HEADER = 30  # bytes before a member's name and data, at the least


def check_archive(archive: ZipFile, file: str) -> None:
    """Raise UnsafeFileError unless each member is a plain file below the archive's root, listed once, of honest size.

    Only the archive's directory is read.
    """
    members = archive.infolist()
    if len(members) > MEMBERS:
        raise refusal(file, f"it has {len(members):,} members.", f"More than the {MEMBERS:,} that any model needs.")
    tally, names = Tally(file), set()
    for member in members:
        _check_place(member, file)
        if member.filename in names:
            raise refusal(
                file,
                f"the member {member.filename!r} is there twice.",
                "Which of the two is meant depends on who reads it, so that one can be shown and the other be used.",
            )
        names.add(member.filename)
        tally.add(f"the member {member.filename!r}", member.file_size, member.compress_size)
    end = 0
    for member in sorted(members, key=lambda m: m.header_offset):
        if member.header_offset < end:
            raise refusal(
                file,
                f"the member {member.filename!r} lies over the one before it.",
                "Members that share their bytes let a small file grow to any size.",
            )
        end = member.header_offset + LOCAL_HEADER + member.compress_size


def _check_place(member: ZipInfo, file: str) -> None:
    name = member.orig_filename  # as it is written: the other one ends at a NUL
    kind = stat.S_IFMT(member.external_attr >> 16)
    if (
        name.startswith(("/", "\\"))
        or "\0" in name
        or name[1:2] == ":"
        or ".." in name.replace("\\", "/").split("/")
    ):
        raise refusal(
            file,
            f"the member {name!r} would be written outside the folder that it is extracted to.",
            "Nothing in a model has a path that leaves its archive (this is how a file of yours gets overwritten).",
        )
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise refusal(
            file,
            f"the member {name!r} is a link or a special file.",
            "It stands for another file of the computer on which the model is loaded.",
        )
    if member.flag_bits & ENCRYPTED:
        raise refusal(file, f"the member {name!r} is encrypted.", "It cannot be looked over.")
