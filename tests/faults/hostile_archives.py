"""Archives that somebody else has made, by hand or by another program, and one of ours."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable, Sequence

from tuneonce.inspect.archive import FIRST, Entry, write
from tuneonce.store.base import MAX_RECORD_BYTES

SAYS = b'{"schema":"tuneonce.archive/1"}\n'
RECORDS = (Entry("v1/a", b"one"), Entry("v1/b", b"x" * 512), Entry("v1/c", b""))


def written(records: Sequence[Entry] = RECORDS) -> bytes:
    """What `tuneonce export` makes of records."""
    file = io.BytesIO()
    write(file, records)
    return file.getvalue()


Tar = Callable[[tarfile.TarFile], None]


def packed(*steps: Tar, first: bytes | None = SAYS, format: int = tarfile.USTAR_FORMAT) -> bytes:
    """An archive as other programs write it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as tar:
        for step in (*([entry(FIRST, first)] if first is not None else []), *steps):
            step(tar)
    return gzip.compress(file.getvalue())


def entry(
    name: str, data: bytes = b"data", *, type: bytes = tarfile.REGTYPE, link: str = ""
) -> Tar:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = type, link
        info.size = len(data) if type == tarfile.REGTYPE else 0
        tar.addfile(info, io.BytesIO(data))

    return add


def sparse(name: str) -> Tar:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.size = tarfile.GNUTYPE_SPARSE, 0
        tar.addfile(info)

    return add


def huge(size: int) -> Tar:
    """An entry that says that it is larger than what follows."""

    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo("v1/b")
        info.size = size
        assert tar.fileobj is not None
        tar.fileobj.write(info.tobuf(tarfile.GNU_FORMAT))

    return add


GOOD = entry("v1/a")
LONG = "v1/" + "/".join("n" * 150 for _ in range(3))

HOSTILE: dict[str, tuple[bytes, str]] = {
    "absolute": (packed(GOOD, entry("/etc/passwd")), "'/etc/passwd' is no name of a record"),
    "above": (packed(GOOD, entry("../v1/b")), "no name of a record"),
    "above, in between": (packed(GOOD, entry("v1/../../b")), "no name of a record"),
    "dot": (packed(GOOD, entry("./v1/b")), "no name of a record"),
    "hidden": (packed(GOOD, entry("v1/.b")), "no name of a record"),
    "two slashes": (packed(GOOD, entry("v1//b")), "no name of a record"),
    "backslash": (packed(GOOD, entry("v1\\b")), "no name of a record"),
    "newline": (packed(GOOD, entry("v1/b\n")), "no name of a record"),
    "empty": (packed(GOOD, entry("")), "no name of a record"),
    "not ASCII": (packed(GOOD, entry("v1/ü")), "no header of an entry"),
    "too deep": (packed(GOOD, entry("v1/" + "/".join("abcdefgh"))), "no name of a record"),
    "symbolic link": (
        packed(GOOD, entry("v1/b", type=tarfile.SYMTYPE, link="/etc/passwd")),
        "'v1/b' is a link and no record",
    ),
    "hard link": (packed(GOOD, entry("v1/b", type=tarfile.LNKTYPE, link="v1/a")), "is a link"),
    "character device": (packed(GOOD, entry("v1/b", type=tarfile.CHRTYPE)), "is a device"),
    "block device": (packed(GOOD, entry("v1/b", type=tarfile.BLKTYPE)), "is a device"),
    "pipe": (packed(GOOD, entry("v1/b", type=tarfile.FIFOTYPE)), "is a pipe"),
    "folder": (packed(GOOD, entry("v1/b", type=tarfile.DIRTYPE)), "is a folder"),
    "sparse": (packed(GOOD, sparse("v1/b")), "an entry of type b'S'"),
    "pax": (packed(GOOD, entry(LONG), format=tarfile.PAX_FORMAT), "an entry of type b'x'"),
    "GNU's long name": (packed(GOOD, entry(LONG), format=tarfile.GNU_FORMAT), "of type b'L'"),
    "twice": (packed(GOOD, GOOD), "v1/a is there twice"),
    "out of order": (packed(GOOD, entry("u1/a")), "u1/a is behind v1/a"),
    "too large": (packed(GOOD, huge(MAX_RECORD_BYTES + 1)), "more than a record may have"),
    "enormous": (packed(GOOD, huge(1 << 62)), "more than a record may have"),
    "negative": (packed(GOOD, huge(-512)), "more than a record may have"),
    "larger than the file": (packed(GOOD, huge(100_000)), "cut short"),
}
"""One entry that is good, one that must end the reading, and why."""

FOREIGN: dict[str, bytes] = {
    "nothing": b"",
    "text": b"print('a program')\n" * 100,
    "an archive of something else": packed(GOOD, first=None),
    "an empty one": packed(first=None),
    "says nothing": packed(GOOD, first=b""),
    "says something else": packed(GOOD, first=b'{"schema":"tuneonce.frozen/1"}\n'),
    "says too much": packed(GOOD, first=SAYS * 100),
    "a link to what it says": packed(entry(FIRST, type=tarfile.SYMTYPE, link="x"), first=None),
    "an archive that is not compressed": gzip.decompress(written()),
    "compressed twice": gzip.compress(written()),
    "gzip of nothing": gzip.compress(b""),
}
"""What is no archive of ours at all."""
