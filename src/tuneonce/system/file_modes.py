"""The permissions of what is made in a store, and of the directories that lead to it.

A store's folders and files have the permissions of its root, whatever the umask: users that may not
read the root may not read them, and the group may write to them where the root is *shared*, that
is, has the setgid bit or is open to its group for writing. Nothing is made that every user may
write to.

A directory that leads to a store, the root included, has the permissions of the one it is made in,
less what the umask takes away. So a store that root makes while an image is built can be read by
the image's users, as Triton's own cache can, and one below a closed home is closed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass, replace

_READ = 0o055
_GROUP = stat.S_ISGID | 0o070
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OURS_ALONE = ~(stat.S_ISGID | stat.S_IWGRP)


@dataclass(frozen=True)
class Modes:
    """What new folders and files get: a `folder`'s permissions, and ids of `group` and `owner`.

    An id of None is left as the system sets it. `owner` is set only where root writes into a
    directory of another user, who could not read or replace the files otherwise.
    """

    folder: int
    group: int | None = None
    owner: int | None = None

    @property
    def file(self) -> int:
        """A file's permissions: those of a folder without the bits for entering it."""
        return self.folder & 0o666


def is_shared(directory: os.stat_result) -> bool:
    """Whether a directory is a group's: what is in it may belong to any user of the group."""
    return bool(directory.st_mode & (stat.S_ISGID | stat.S_IWGRP))


def modes_in(root: os.stat_result, *, bake: bool = False) -> Modes:
    """The modes of what is made below the root of a store. `bake`: every user may read it."""
    folder = 0o700 | root.st_mode & _READ | (_READ if bake else 0)
    owner = root.st_uid if root.st_uid and os.geteuid() == 0 else None
    if is_shared(root):
        return Modes(folder | _GROUP, root.st_gid, owner)
    return Modes(folder, None, owner)


def settle(made: int | str, status: os.stat_result, modes: Modes, mode: int) -> None:
    """Give what this process has just made its group, owner and mode.

    `made` is a descriptor or a path, `status` what it is so far, `mode` the one of `modes` to give.
    Where the group cannot be had, the group that it has may not write. Raises nothing: some file
    systems know neither modes nor owners.
    """
    if modes.group is not None and status.st_gid != modes.group:
        try:
            os.chown(made, -1, modes.group)
        except OSError:
            mode &= _OURS_ALONE
    if modes.owner is not None and status.st_uid != modes.owner:
        with contextlib.suppress(OSError):  # a file server may forbid it to root
            os.chown(made, modes.owner, -1)
    if stat.S_IMODE(status.st_mode) != mode:
        with contextlib.suppress(OSError):  # no modes here at all, or no /proc
            os.chmod(made, mode)


def settle_folder(folder: str | int, modes: Modes, *, made: bool = True) -> None:
    """``settle`` a folder, by its path or by an open descriptor of it. Raises OSError.

    One that another process has `made` a moment earlier is left alone if it is another user's. By
    its descriptor in any case, since by now its name may be a link's.
    """
    at = folder if isinstance(folder, int) else os.open(folder, _FOLDER)
    try:
        status = os.fstat(at)
        if made or status.st_uid == os.geteuid():
            settle(f"/proc/self/fd/{at}", status, modes, modes.folder)
    finally:
        if at != folder:
            os.close(at)


def missing(path: str) -> list[str]:
    """The directories that have to be made for `path` to be there, the highest first."""
    found = []
    while not os.path.isdir(path):
        found.append(path)
        above = os.path.dirname(path)
        if above == path:
            break
        path = above
    return found[::-1]


def make_directory(path: str, *, bake: bool = False) -> None:
    """Make one directory that leads to a store, or its root. Raises OSError.

    It is shared with the group only if the umask lets the group read.
    """
    above = os.stat(os.path.dirname(path))
    os.mkdir(path, 0o700 | above.st_mode & _READ)
    status = os.stat(path)
    mode = 0o700 | status.st_mode & _READ
    group = None
    # In a directory for temporary files, which every user may write to, the group says nothing.
    for_temporary = above.st_mode & stat.S_IWOTH and above.st_mode & stat.S_ISVTX
    if is_shared(above) and not for_temporary and mode & 0o050 == 0o050:
        mode, group = mode | _GROUP, above.st_gid
    if bake:
        mode |= _READ
    owner = above.st_uid if above.st_uid and os.geteuid() == 0 and not for_temporary else None
    settle_folder(path, Modes(mode, group, owner))


def make_closed_directory(path: str) -> None:
    """Make a directory that is this user's alone, or a group's, and what leads to it.

    Directories that exist are left as they are: people mount them. Raises OSError.
    """
    for directory in missing(path):
        with contextlib.suppress(FileExistsError):  # by another process meanwhile
            if directory != path:
                make_directory(directory)
                continue
            above = os.stat(os.path.dirname(path))
            modes = modes_in(above)
            closed = 0o007 if is_shared(above) else 0o077
            os.mkdir(path, 0o700)
            settle_folder(path, replace(modes, folder=modes.folder & ~closed))
