"""Read-only, full, strange and failing disks.

Real ones where the machine allows it: a tmpfs or an overlay mounted in a private mount namespace
(``unshare -m``; with user namespaces no root is needed), and a limit on the size of files. The
same errors are also raised by hand, so that every machine tests their translation.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes import PYTHONPATH
from tuneonce.errors import (
    RecordUnreadable,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    Unreadable,
)
from tuneonce.store import Store, _atomic, open_store

NAME = "kernel/world/key/verdict.json"

UNSHARE = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]


def _can_mount() -> bool:
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    trial = [*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(trial, capture_output=True, timeout=30, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(not _can_mount(), reason="no private mount namespaces here")


def mounted(shell: str, code: str, folder: Path) -> None:
    """Run ``shell`` in a mount namespace of its own, in ``folder``, and then ``code`` there."""
    prelude = (
        "import os, pathlib, pytest, subprocess\n"
        "from tuneonce.errors import *\n"
        "from tuneonce.store import open_store\n"
        "def sh(line): subprocess.run(line, shell=True, check=True)\n"
    )
    python = [sys.executable, "-W", "error", "-c", prelude + code]
    child = subprocess.run(
        [*UNSHARE, "sh", "-ec", shell + '\nexec "$@"', "sh", *python],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": PYTHONPATH},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if child.returncode != 0 and "mount:" in child.stderr and "Traceback" not in child.stderr:
        pytest.skip(f"this kernel does not mount that: {child.stderr.strip()}")
    assert child.returncode == 0, child.stderr


# -- real disks ------------------------------------------------------------------------------------


@needs_mounts
def test_a_read_only_disk(tmp_path: Path) -> None:
    mounted(
        "mkdir disk && mount -t tmpfs tmpfs disk",
        f"""
store = open_store("disk/store")
store.put({NAME!r}, b"kept")
sh("mount -o remount,bind,ro disk")
assert store.get({NAME!r}) == b"kept"
assert store.get("absent") is None
assert list(store.list("")) == [{NAME!r}]
assert not store.put_if_absent({NAME!r}, b"late")
for call in (
    lambda: store.put({NAME!r}, b"new"),
    lambda: store.put_if_absent("absent", b"new"),
    lambda: store.put("other/w/k", b"new"),
    lambda: store.delete_if({NAME!r}, b"kept"),
    lambda: open_store("disk/elsewhere").put("k", b"new"),
):
    with pytest.raises(StoreReadOnly, match="Read-only file system"):
        call()
assert not store.set_aside({NAME!r})
assert not store.describe().writable
assert open_store("disk/elsewhere").get("k") is None
assert not open_store("disk/elsewhere").describe().writable
""",
        tmp_path,
    )


@needs_mounts
@pytest.mark.parametrize("limit", ["size=128k", "nr_inodes=40"])
def test_a_full_disk(tmp_path: Path, limit: str) -> None:
    mounted(
        f"mkdir disk && mount -t tmpfs -o {limit} tmpfs disk",
        """
store = open_store("disk/store")
stored = []
with pytest.raises(StoreFull, match="space"):
    for number in range(100):
        name = f"kernel/world/key/{number}.json"
        assert store.put_if_absent(name, b"%4000d" % number)
        stored.append(name)
assert len(stored) > 5
with pytest.raises(StoreFull):  # a link may need room that a replacement does not
    for number in range(len(stored), 100):
        name = f"kernel/world/key/{number}.json"
        store.put(name, b"%4000d" % number, durable=False)
        stored.append(name)
for write in (store.put, store.put_if_absent):
    with pytest.raises(StoreFull):
        write("kernel/world/key/more.json", bytes(4000))
    with pytest.raises(StoreFull):
        write("kernel/world/new/more.json", bytes(4000))
# Everything that was stored is whole, nothing else is there, and space makes it work again.
assert sorted(store.list("")) == sorted(stored)
for number, name in enumerate(stored):
    assert store.get(name) == b"%4000d" % number
assert not list(pathlib.Path("disk").rglob(".tmp-*"))
assert store.set_aside(stored[0]) in (True, False)  # it may need a folder, for which is no room
for number, name in list(enumerate(stored))[1:4]:
    assert store.delete_if(name, b"%4000d" % number)
store.put("kernel/world/key/more.json", b"fits again")
assert store.get("kernel/world/key/more.json") == b"fits again"
""",
        tmp_path,
    )


@needs_mounts
def test_an_overlay_over_a_baked_store(tmp_path: Path) -> None:
    """A container: records of the image below, changes above."""
    mounted(
        """
        mkdir tmpfs merged && mount -t tmpfs tmpfs tmpfs && cd tmpfs && mkdir lower upper work
        mkdir -p -m 700 lower/store/k/w/key/directory.json
        printf old > lower/store/k/w/key/1.json; printf old > lower/store/k/w/key/2.json
        chmod 600 lower/store/k/w/key/?.json
        cd ..
        mount -t overlay overlay -o lowerdir=tmpfs/lower,upperdir=tmpfs/upper,workdir=tmpfs/work \
            merged
        """,
        """
store = open_store("merged/store")
assert sorted(store.list("")) == ["k/w/key/1.json", "k/w/key/2.json"]
assert not store.put_if_absent("k/w/key/1.json", b"late")
assert store.put_if_absent("k/w/key/3.json", b"new")
store.put("k/w/key/1.json", b"new")
assert store.get("k/w/key/1.json") == b"new"
assert store.delete_if("k/w/key/2.json", b"old")
assert store.get("k/w/key/2.json") is None
assert store.put_if_absent("k/w/key/2.json", b"again")
with pytest.raises(RecordUnreadable):
    store.get("k/w/key/directory.json")
# A directory of the image cannot be moved: that is an answer, not an error.
if not store.set_aside("k/w/key/directory.json"):
    with pytest.raises(RecordUnreadable):
        store.get("k/w/key/directory.json")
assert store.set_aside("k/w/key/1.json")
assert sorted(store.list("")) == ["k/w/key/2.json", "k/w/key/3.json"]
""",
        tmp_path,
    )


@needs_mounts
def test_a_file_mounted_over_a_record(tmp_path: Path) -> None:
    mounted(
        "mkdir -m 700 store && echo x > store/other && : > store/r && mount --bind store/other "
        "store/r",
        """
store = open_store("store")
assert store.get("r") == b"x\\n"
assert not store.set_aside("r")
with pytest.raises(StoreUnavailable, match="busy"):
    store.put("r", b"new")
assert sorted(store.list("")) == ["other", "r"]
""",
        tmp_path,
    )


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_write_that_ends_half_way(tmp_path: Path) -> None:
    """The kernel takes the first 10,000 bytes and refuses the rest: no part of it may stay."""
    store = open_store(tmp_path)
    store.put(NAME, b"old")
    with file_size_limit(10_000):
        for write in (store.put, store.put_if_absent):
            for name in (NAME + ".new", NAME) if write == store.put else (NAME + ".new",):
                with pytest.raises(StoreFull, match="File too large"):
                    write(name, bytes(50_000))
    assert store.get(NAME) == b"old"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["verdict.json"]


# -- the same, raised by hand ----------------------------------------------------------------------


def raising(code: int) -> Callable[..., object]:
    def call(*args: object, **options: object) -> object:
        raise OSError(code, os.strerror(code))

    return call


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(_atomic, "_PAUSES_S", (0.0,) * len(_atomic._PAUSES_S))
    store = open_store(tmp_path / "store")
    store.put(NAME, b"old")
    return store


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.EROFS, StoreReadOnly),
        (errno.EACCES, StoreReadOnly),
        (errno.EPERM, StoreReadOnly),
        (errno.ENOSPC, StoreFull),
        (errno.EDQUOT, StoreFull),
        (errno.EFBIG, StoreFull),
        (errno.EIO, StoreUnavailable),
        (errno.ENOTCONN, StoreUnavailable),
        (errno.ESTALE, StoreUnavailable),
        (errno.EBUSY, StoreUnavailable),
        (errno.EMFILE, StoreUnavailable),
        (errno.ETIMEDOUT, StoreUnavailable),
        (errno.ENOENT, StoreUnavailable),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else value.__name__,
)
def test_whatever_fails_in_a_put_is_one_of_our_errors(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    kind: type[StoreError],
) -> None:
    # Opening, writing, syncing, closing, naming: each may be the first to fail.
    for call in ("open", "write", "fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, raising(code))
            with pytest.raises(StoreError) as caught:
                store.put(NAME, b"new")
        # A missing folder is made, and making it is what keeps failing or does not.
        assert type(caught.value) is kind, call
        assert isinstance(caught.value.__cause__, OSError)
        assert str(tmp_path) in str(caught.value)
        assert caught.value.store == f"file://{tmp_path}/store"
        assert "TUNEONCE_STORE" in str(caught.value)
        assert store.get(NAME) == b"old"
        assert list((tmp_path / "store").rglob(".tmp-*")) == []


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOTCONN, errno.ESTALE, errno.EMFILE])
@pytest.mark.parametrize("call", ["open", "read", "fstat"])
def test_whatever_fails_in_a_get_is_unavailable_and_not_absent(
    store: Store, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, call, raising(code))
        for read in (store.get, lambda name: store.delete_if(name, b"old")):
            with pytest.raises(StoreUnavailable, match=os.strerror(code)):
                read(NAME)
    assert store.get(NAME) == b"old"


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_a_folder_that_cannot_be_listed_is_not_empty(
    store: Store, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(os, "scandir", raising(code))
    with pytest.raises(StoreUnavailable):
        list(store.list(""))


def test_a_link_is_reported_as_such_wherever_the_kernel_says_so(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "open", raising(errno.EMLINK))  # what FreeBSD says instead of ELOOP
    with pytest.raises(RecordUnreadable) as caught:
        store.get(NAME)
    assert caught.value.reason is Unreadable.NOT_A_FILE


def test_folders_that_cannot_be_synced_do_not_fail_a_put(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def no_folders(path: str, flags: int, *mode: int, dir_fd: int | None = None) -> int:
        if flags & os.O_DIRECTORY and not flags & os.O_PATH:
            raise OSError(errno.EINVAL, "this file system cannot")
        return real(path, flags, *mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", no_folders)
    store.put(NAME, b"new")
    assert store.get(NAME) == b"new"


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_where_nobody_has_modes_or_groups_a_put_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store").chmod(0o777)
    monkeypatch.setattr(os, "chmod", raising(code))
    monkeypatch.setattr(os, "chown", raising(code))
    store = open_store(tmp_path / "store")
    store.put(NAME, b"new")
    assert store.get(NAME) == b"new"
    open_store(tmp_path / "above/store").put(NAME, b"new")


# -- the habits of network file systems ------------------------------------------------------------


def failing_first(
    call: str, code: int, times: int, *, after: bool = False
) -> Callable[..., object]:
    """``os.<call>`` that fails ``times`` times; with ``after``, having done its work."""
    real = getattr(os, call)
    left = [times]

    def wrapper(*args: object, **options: object) -> object:
        if left[0] > 0:
            left[0] -= 1
            if after:
                real(*args, **options)
            raise OSError(code, os.strerror(code))
        return real(*args, **options)

    return wrapper


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EBUSY])
def test_passing_errors_pass(store: Store, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    for call in ("open", "replace", "link", "rename", "read"):
        monkeypatch.setattr(os, call, failing_first(call, code, 2))
    assert store.get(NAME) == b"old"
    store.put(NAME, b"new")
    assert store.put_if_absent("k/w/2", b"second")
    assert store.get(NAME) == b"new"
    assert store.delete_if(NAME, b"new")
    assert store.get(NAME) is None


def test_a_folder_vanishes_between_making_it_and_writing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for call in ("replace", "link"):
        monkeypatch.setattr(os, call, failing_first(call, errno.ENOENT, 1))
    store.put(NAME, b"new")
    assert store.put_if_absent("k/w/2", b"second")
    assert store.get(NAME) == b"new"
    assert store.get("k/w/2") == b"second"


def test_an_answer_is_lost_and_the_request_repeated(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server did it; the client asks again and hears that it cannot be done."""
    monkeypatch.setattr(os, "replace", failing_first("replace", errno.ENOENT, 1, after=True))
    store.put(NAME, b"new")
    assert store.get(NAME) == b"new"
    monkeypatch.setattr(os, "link", failing_first("link", errno.EEXIST, 1, after=True))
    assert store.put_if_absent("k/w/2", b"second")
    assert store.get("k/w/2") == b"second"
    monkeypatch.setattr(os, "rename", failing_first("rename", errno.ENOENT, 1, after=True))
    assert store.delete_if(NAME, b"new")
    assert store.get(NAME) is None
    monkeypatch.setattr(os, "rename", failing_first("rename", errno.ENOENT, 1, after=True))
    assert store.set_aside("k/w/2")
    assert list(store.list("")) == []


# -- without hard links ----------------------------------------------------------------------------


@pytest.fixture(params=[errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def no_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", raising(request.param))


@pytest.mark.usefixtures("no_links")
def test_put_if_absent_without_hard_links(store: Store, tmp_path: Path) -> None:
    assert store.put_if_absent("k/w/1", b"first")
    assert not store.put_if_absent("k/w/1", b"second")
    assert store.get("k/w/1") == b"first"
    assert list(store.list("k/")) == ["k/w/1"]
    assert [path.name for path in (tmp_path / "store/k/w").iterdir()] == ["1"]


@pytest.mark.usefixtures("no_links")
def test_a_mark_left_by_a_dead_process_is_removed_when_it_is_old(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("k/w/other", b"-")
    mark = tmp_path / "store/k/w/.new-1"
    mark.touch()
    monkeypatch.setattr(_atomic.time, "sleep", lambda seconds: None)
    with pytest.raises(StoreUnavailable, match="another process is writing"):
        store.put_if_absent("k/w/1", b"data")
    assert store.get("k/w/1") is None
    assert sorted(path.name for path in mark.parent.iterdir()) == [".new-1", "other"]

    monkeypatch.setattr(_atomic, "MARK_AGE_S", -1.0)
    assert store.put_if_absent("k/w/1", b"data")
    assert store.get("k/w/1") == b"data"
    assert not mark.exists()


@pytest.mark.usefixtures("no_links")
def test_whoever_waits_for_a_mark_sees_the_winner(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("k/w/other", b"-")
    mark = tmp_path / "store/k/w/.new-1"
    mark.touch()

    def other_process_finishes(seconds: float) -> None:
        (tmp_path / "store/k/w/1").write_bytes(b"theirs")
        mark.unlink()

    monkeypatch.setattr(_atomic.time, "sleep", other_process_finishes)
    assert not store.put_if_absent("k/w/1", b"ours")
    assert store.get("k/w/1") == b"theirs"
