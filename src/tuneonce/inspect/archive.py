"""A file of records: a tar archive, compressed by gzip, that any program for these can list.

The first entry says what the file is, the others are records under their names in a store, in the
order of these::

    tuneonce.json                       {"schema":"tuneonce.archive/1"}
    v1/<kernel>/<world>/<key>/<file>    a record, as a store has it (`model.record_names`)

All headers say the same but for name and size: no owner, no time. So the same records make the same
archive, wherever and whenever it is written. What gzip makes of it may differ with its version.

A file may come from anybody. It is read from its beginning to its end, one record in memory, within
bounds; what is not written here, such as links, folders and names out of order, is not passed over
but ends the reading.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from ..store.base import MAX_RECORD_BYTES, check_name

SCHEMA = "tuneonce.archive/1"
FIRST = "tuneonce.json"

MOST_ENTRIES = 1_000_000
MOST_BYTES = 4 << 30
"""What is read of one file, in records and in unpacked bytes. Arbitrary: 400,000 verdicts."""

MOST_RATIO, AT_LEAST_BYTES = 200, 8 << 20
"""A file that unpacks to so many times its size, beyond the first bytes, is there to fill a disk.
Arbitrary: verdicts are packed to a tenth, and those of equal times, in tests, to a fortieth."""

_BLOCK = tarfile.BLOCKSIZE
_END = 2 * _BLOCK
# Writers fill up their last record: 20 blocks by default, some more. Arbitrary.
_MOST_PADDING = 1 << 20
_SAYS = re.compile(rb'\{"schema":"tuneonce\.archive/([0-9]{1,9})"\}\n')
_KINDS = {
    tarfile.LNKTYPE: "a link",
    tarfile.SYMTYPE: "a link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.DIRTYPE: "a folder",
    tarfile.FIFOTYPE: "a pipe",
}


class BadArchive(Exception):
    """A file is no archive of records, or not a whole one; the message says what is wrong."""


class Entry(NamedTuple):
    """A record and the name that it has in a store."""

    name: str
    data: bytes


_CUT = "it is cut short"
_TOO_MANY = f"it has more than {MOST_ENTRIES:,} records"
_TOO_LARGE = f"it unpacks to more than {MOST_BYTES >> 30} GiB"
_NO_ARCHIVE = "it is no archive that `tuneonce export` writes"

# -- writing -------------------------------------------------------------------------------------


def write(file: BinaryIO, records: Iterable[Entry]) -> str:
    """Write an archive of records, which are in the order of their names.

    Returns the SHA-256 of what is inside of gzip. Raises BadArchive for more than `read` would read
    again, ValueError for a name that does not fit (`fits`), and OSError.
    """
    digest, size = hashlib.sha256(), 0
    with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as packed:

        def put(data: bytes) -> None:
            nonlocal size
            size += len(data)
            if size > MOST_BYTES:
                raise BadArchive(_TOO_LARGE)
            digest.update(data)
            packed.write(data)

        said = f'{{"schema":"{SCHEMA}"}}\n'.encode()
        for number, (name, data) in enumerate(itertools.chain([Entry(FIRST, said)], records)):
            if number > MOST_ENTRIES:
                raise BadArchive(_TOO_MANY)
            put(_header(name, len(data)))
            put(data)
            put(bytes(-len(data) % _BLOCK))
        put(bytes(_END))
    return digest.hexdigest()


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


def fits(name: str) -> bool:
    """Whether a header has room for a name. It has for all names that this package makes."""
    try:
        _header(name, 0)
    except ValueError:
        return False
    return True


# -- reading -------------------------------------------------------------------------------------


def read(file: BinaryIO) -> Iterator[Entry]:
    """The records of an archive, one after the other; what is in them is not looked at.

    Nothing is known of what follows, so records that were handed out may be all that is good of it.
    Raises BadArchive, and OSError if the file cannot be read.
    """
    try:
        with gzip.GzipFile(fileobj=(packed := _Packed(file)), mode="rb") as unpacked:  # type: ignore[call-overload]
            yield from _entries(_Bounded(unpacked, packed))
    except EOFError:
        raise BadArchive(_CUT) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise BadArchive(f"it is no gzip file, or damaged ({error})") from error


def is_archive(file: BinaryIO) -> bool:
    """Whether a file begins as an archive that this version reads. Raises OSError."""
    try:
        next(read(file), None)
    except BadArchive:
        return False
    return True


class _Packed:
    """A file, and how much of it was read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.bytes = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.bytes += len(data)
        return data


class _Bounded:
    """What a file unpacks to, within bounds."""

    def __init__(self, unpacked: gzip.GzipFile, packed: _Packed) -> None:
        self._unpacked, self._packed = unpacked, packed
        self._bytes = 0

    def take(self, size: int) -> bytes:
        """So many bytes. Raises BadArchive if there are fewer."""
        data = self.some(size)
        if len(data) < size:
            raise BadArchive(_CUT)
        return data

    def some(self, size: int) -> bytes:
        """So many bytes, fewer at the end alone."""
        data = self._unpacked.read(size)
        self._bytes += len(data)
        if self._bytes > MOST_BYTES:
            raise BadArchive(_TOO_LARGE)
        if self._bytes > AT_LEAST_BYTES + MOST_RATIO * self._packed.bytes:
            raise BadArchive(f"it unpacks to more than {MOST_RATIO} times its size")
        return data


def _entries(file: _Bounded) -> Iterator[Entry]:
    last = ""
    for number in itertools.count():
        block = file.take(_BLOCK)
        if not any(block):
            if number == 0:
                raise BadArchive(_NO_ARCHIVE)
            _check_end(file)
            return
        if number == 0:
            _check_first(file, block)
            continue
        if number > MOST_ENTRIES:
            raise BadArchive(_TOO_MANY)
        name, size = _entry(block)
        if name <= last:
            again = "there twice" if name == last else f"behind {last}"
            raise BadArchive(f"{name} is {again}; names are in order, each once")
        last = name
        data = file.take(size)
        file.take(-size % _BLOCK)
        yield Entry(name, data)


def _check_first(file: _Bounded, block: bytes) -> None:
    """Raises BadArchive unless the file says that it is of this schema."""
    try:
        info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (tarfile.HeaderError, ValueError):
        raise BadArchive(_NO_ARCHIVE) from None
    if info.name != FIRST or not 0 < info.size <= _BLOCK:
        raise BadArchive(_NO_ARCHIVE)
    said = _SAYS.fullmatch(file.take(_BLOCK)[: info.size])
    if said is None:
        raise BadArchive(_NO_ARCHIVE)
    if int(said[1]) != 1:
        raise BadArchive(
            f"it is of version {int(said[1])}, and this tuneonce reads version 1: use a later one"
        )


def _entry(block: bytes) -> tuple[str, int]:
    """The name and size that a header announces. Raises BadArchive."""
    try:
        info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (tarfile.HeaderError, ValueError) as error:
        raise BadArchive(f"there is no header of an entry where one belongs ({error})") from error
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        kind = _KINDS.get(info.type, f"an entry of type {info.type!r}")
        raise BadArchive(f"{info.name!r} is {kind} and no record")
    try:
        check_name(info.name)
    except ValueError:
        raise BadArchive(f"{info.name!r} is no name of a record") from None
    if not 0 <= info.size <= MAX_RECORD_BYTES:
        raise BadArchive(f"{info.name} has {info.size:,} bytes, more than a record may have")
    return info.name, info.size


def _check_end(file: _Bounded) -> None:
    """Read what follows the first block of the end, and with it gzip's own checksum."""
    more, padding = file.take(_BLOCK), 0
    while more:
        padding += len(more)
        if any(more) or padding > _MOST_PADDING:
            raise BadArchive("it goes on behind its end")
        more = file.some(_BLOCK)
