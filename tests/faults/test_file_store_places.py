"""What may stand where a record, a folder or the root belongs, and whose it may be."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes import run_python
from tuneonce.errors import (
    RecordUnreadable,
    SettingsError,
    StoreError,
    StoreUnavailable,
    Unreadable,
)
from tuneonce.store import Store, open_store
from tuneonce.store.base import MAX_RECORD_BYTES, MAX_SET_ASIDE
from tuneonce.store.files import FileStore

NAME = "kernel/world/key/verdict.json"
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> Store:
    store = open_store(root)
    store.put("kernel/world/key/other.json", b"other", durable=False)
    return store


@pytest.fixture
def anyones() -> Iterator[Path]:
    """A directory that every user can reach; pytest's own are closed to others."""
    path = Path(tempfile.mkdtemp(prefix="tuneonce-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def as_nobody(
    code: str, *arguments: object, home: str = "/", groups: tuple[int, ...] | None = None
) -> None:
    """Run ``code`` in a child: as user 65534 without privileges if we are root, else as we are.

    With ``groups`` it stays root, in these groups, and becomes whom it likes.

    The child imports everything before it gives up root: the interpreter may be in root's home.
    """
    prelude = (
        "import os, sys, stat, pathlib, pytest\n"
        "from tuneonce.errors import *\n"
        "from tuneonce.errors import Unreadable\n"
        "import tuneonce.store.files, tuneonce.store.memory, tuneonce.store.readonly\n"
        "from tuneonce.store import open_store\n"
        "from tests.factories import record\n"
        "from tests.fakes import RememberedEvents, measured, question\n"
        "from tuneonce.resolution.resolver import Resolver\n"
        "def resolver(store):\n"
        "    events = RememberedEvents()\n"
        "    return Resolver(store, events, clock=lambda: 2000.0), events\n"
        f"if os.geteuid() == 0: os.setgroups({list(groups or ())})\n"
        f"if os.geteuid() == 0 and {groups is None}: os.setgid(65534); os.setuid(65534)\n"
    )
    run_python("-c", prelude + code, *arguments, cwd=Path("/"), HOME=home)


# -- in a record's place -------------------------------------------------------------------------


def empty_directory(path: Path) -> None:
    path.mkdir()


def full_directory(path: Path) -> None:
    path.mkdir()
    (path / "precious").write_text("not ours")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:  # a path there may be too long for a socket
        server.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


def link_to_a_record(path: Path) -> None:
    path.symlink_to("other.json")


def link_to_nothing(path: Path) -> None:
    path.symlink_to("nowhere")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def enormous(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)  # sparse


def one_too_large(path: Path) -> None:
    path.touch()
    os.truncate(path, MAX_RECORD_BYTES + 1)


INTRUDERS: list[tuple[Callable[[Path], None], Unreadable]] = [
    (empty_directory, Unreadable.NOT_A_FILE),
    (full_directory, Unreadable.NOT_A_FILE),
    (pipe, Unreadable.NOT_A_FILE),
    (unix_socket, Unreadable.NOT_A_FILE),
    (link_to_a_record, Unreadable.NOT_A_FILE),
    (link_to_nothing, Unreadable.NOT_A_FILE),
    (link_to_itself, Unreadable.NOT_A_FILE),
    (enormous, Unreadable.TOO_LARGE),
    (one_too_large, Unreadable.TOO_LARGE),
]
intruders = pytest.mark.parametrize(
    ("place", "reason"), INTRUDERS, ids=[place.__name__ for place, _ in INTRUDERS]
)


@intruders
@pytest.mark.timeout(20)  # a pipe that is waited for would wait for ever
def test_an_intruder_is_reported_and_set_aside(
    store: Store, root: Path, place: Callable[[Path], None], reason: Unreadable
) -> None:
    place(root / NAME)
    with pytest.raises(RecordUnreadable) as caught:
        store.get(NAME)
    assert caught.value.reason is reason
    assert caught.value.name == NAME
    assert reason.value in str(caught.value)
    assert str(root) in str(caught.value)
    # It has the name, so the name is not absent, and nothing that compares bytes matches it.
    assert not store.put_if_absent(NAME, b"new")
    with pytest.raises(RecordUnreadable):
        store.delete_if(NAME, b"")
    assert not store.set_aside(NAME, seen=b"")
    assert "kernel/world/key/other.json" in set(store.list(""))
    if (root / NAME).is_symlink():  # who made it knows why: see test_file_store_links.py
        target = (root / NAME).readlink()
        assert not store.set_aside(NAME)
        assert (root / NAME).readlink() == target
        return

    assert store.set_aside(NAME)
    assert store.get(NAME) is None
    assert not store.set_aside(NAME)
    assert store.put_if_absent(NAME, b"new")
    assert store.get(NAME) == b"new"
    assert set(store.list("")) == {NAME, "kernel/world/key/other.json"}
    assert store.get("kernel/world/key/other.json") == b"other"


@intruders
def test_a_put_replaces_an_intruder_or_says_that_it_is_in_the_way(
    store: Store, root: Path, place: Callable[[Path], None], reason: Unreadable
) -> None:
    place(root / NAME)
    if (root / NAME).is_dir():
        with pytest.raises(RecordUnreadable, match="directory"):
            store.put(NAME, b"new")
    else:
        store.put(NAME, b"new")
        assert store.get(NAME) == b"new"
        assert (root / NAME).is_file()
    assert store.get("kernel/world/key/other.json") == b"other"


def test_what_is_in_a_directory_that_was_set_aside_is_never_deleted(
    store: Store, root: Path
) -> None:
    full_directory(root / NAME)
    assert store.set_aside(NAME)
    for _ in range(MAX_SET_ASIDE + 5):
        store.put(NAME, b"broken", durable=False)
        assert store.set_aside(NAME)
    (kept,) = root.glob(".set-aside/*/precious")
    assert kept.read_text() == "not ours"


def test_a_file_in_a_folders_place(store: Store, root: Path) -> None:
    (root / "blocked").write_text("a file")
    name = "blocked/world/key/verdict.json"
    with pytest.raises(RecordUnreadable) as caught:
        store.get(name)
    assert caught.value.reason is Unreadable.NOT_A_FILE
    with pytest.raises(RecordUnreadable, match="folder's place"):
        store.put(name, b"new")
    with pytest.raises(RecordUnreadable, match="folder's place"):
        store.put_if_absent(name, b"new")
    assert list(store.list("blocked/world/")) == []
    assert store.set_aside(name)
    assert store.get(name) is None
    assert store.put_if_absent(name, b"new")
    assert store.get(name) == b"new"


def test_foreign_files_are_not_listed(store: Store, root: Path) -> None:
    (root / "read me.txt").write_text("x")
    (root / ".nfs0001").write_text("x")
    (root / "kernel/world/key/.other.json.swp").write_text("x")
    (root / "lost+found").mkdir()
    (root / "lost+found/found").write_text("x")
    (root / "/".join("abcdefgh")).mkdir(parents=True)
    (root / "/".join("abcdefghi")).write_text("x")
    assert list(store.list("")) == ["kernel/world/key/other.json"]


# -- in the root's place ---------------------------------------------------------------------------


def test_the_root_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "store"
    path.write_text("a file")
    for store in (open_store(path), open_store(path / "below")):
        calls: list[Callable[[], object]] = [
            lambda store=store: store.get(NAME),
            lambda store=store: list(store.list("")),
            lambda store=store: list(store.list("a/b/")),
            lambda store=store: store.put(NAME, b""),
            lambda store=store: store.put_if_absent(NAME, b""),
            lambda store=store: store.delete_if(NAME, b""),
        ]
        for call in calls:
            with pytest.raises(StoreUnavailable, match="TUNEONCE_STORE"):
                call()
        assert not store.set_aside(NAME)
        assert not store.describe().writable
        assert "directory" in store.describe().note
    assert path.read_text() == "a file"


def test_the_root_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "store").symlink_to("volume")
    store = open_store(tmp_path / "store")
    store.put(NAME, b"data")
    assert store.get(NAME) == b"data"
    assert (tmp_path / "volume" / NAME).read_bytes() == b"data"


def test_the_root_is_a_link_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "store").symlink_to("unmounted")
    store = open_store(tmp_path / "store")
    assert store.get(NAME) is None
    assert list(store.list("")) == []
    with pytest.raises(StoreUnavailable):
        store.put(NAME, b"")
    assert not (tmp_path / "unmounted").exists()


@pytest.mark.parametrize("durable", [True, False])
def test_the_root_is_deleted_while_running(store: Store, root: Path, durable: bool) -> None:
    store.put(NAME, b"one", durable=durable)
    shutil.rmtree(root)
    assert store.get(NAME) is None
    assert list(store.list("")) == []
    assert not store.delete_if(NAME, b"one")
    assert not store.set_aside(NAME)
    assert store.put_if_absent(NAME, b"two", durable=durable)
    assert store.get(NAME) == b"two"
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_the_root_is_deleted_at_every_step_of_a_put(
    store: Store, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the deletion falls, the put succeeds or fails as a store does."""
    outcomes = set()
    for call in ("open", "fstat", "write", "fsync", "close", "replace", "link", "mkdir", "unlink"):
        for write in (store.put, store.put_if_absent):
            real = getattr(os, call)

            def deleting(*args: object, real=real, **options: object) -> object:
                monkeypatch.undo()
                shutil.rmtree(root, ignore_errors=True)
                return real(*args, **options)

            shutil.rmtree(root, ignore_errors=call == "mkdir")
            if call != "mkdir":
                store.put("kernel/world/key/other.json", b"other", durable=False)
            monkeypatch.setattr(os, call, deleting)
            try:
                write(NAME, b"data")
            except StoreError:
                outcomes.add("failed")
            else:
                outcomes.add("stored" if store.get(NAME) == b"data" else "deleted with the root")
            monkeypatch.undo()
            store.put(NAME, b"after", durable=False)
            assert store.get(NAME) == b"after"
    assert "stored" in outcomes


def test_a_root_that_is_deleted_again_and_again(
    store: Store, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*args: object, **options: object) -> object:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(os, "replace", gone)
    with pytest.raises(StoreUnavailable):
        store.put(NAME, b"data")


# -- whose it is -----------------------------------------------------------------------------------


@ROOT_ONLY
def test_in_a_groups_root_everybody_is_believed(store: Store, root: Path) -> None:
    store.put(NAME, b"theirs")
    os.chown(root / NAME, 12345, 12345)
    for mode, believed in ((0o755, False), (0o2755, True), (0o775, True), (0o700, False)):
        root.chmod(mode)
        if believed:
            assert open_store(root).get(NAME) == b"theirs"
        else:
            with pytest.raises(RecordUnreadable):
                open_store(root).get(NAME)


def test_what_every_user_may_write_counts_where_every_user_may_write(
    store: Store, root: Path
) -> None:
    store.put(NAME, b"anybody's")
    (root / NAME).chmod(0o666)
    for mode in (0o700, 0o755, 0o2770):
        root.chmod(mode)
        with pytest.raises(RecordUnreadable) as caught:
            store.get(NAME)
        assert caught.value.reason is Unreadable.OWNER
        assert "every user" in str(caught.value)
    root.chmod(0o777)  # as on a volume that knows no modes
    assert store.get(NAME) == b"anybody's"


@ROOT_ONLY
def test_a_root_is_asked_once_for_each_writer(
    store: Store, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.chmod(0o2770)
    for number in range(3):
        store.put(f"{NAME}{number}", b"theirs")
        os.chown(root / f"{NAME}{number}", 12345, 12345)
    asked = []
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda *args, **more: asked.append(args) or real(*args, **more))
    for number in range(3):
        assert store.get(f"{NAME}{number}") == b"theirs"
    assert len(asked) == 1


@ROOT_ONLY
def test_records_of_other_users_are_not_believed(store: Store, root: Path) -> None:
    store.put(NAME, b"planted")
    os.chown(root / NAME, 12345, 12345)
    with pytest.raises(RecordUnreadable) as caught:
        store.get(NAME)
    assert caught.value.reason is Unreadable.OWNER
    assert "12345" in str(caught.value)
    assert store.set_aside(NAME)
    assert store.get(NAME) is None

    # Who owns the root directory owns the store: a file server may map all users to one.
    store.put(NAME, b"theirs")
    os.chown(root / NAME, 12345, 12345)
    os.chown(root, 12345, 12345)
    assert store.get(NAME) == b"theirs"


def test_records_of_other_users_are_not_believed_simulated(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(NAME, b"planted")
    real = os.fstat

    def fstat(fd: int) -> os.stat_result:
        fields = list(real(fd))
        fields[stat.ST_UID] += 12345
        return os.stat_result(fields)

    monkeypatch.setattr(os, "fstat", fstat)
    with pytest.raises(RecordUnreadable) as caught:
        store.get(NAME)
    assert caught.value.reason is Unreadable.OWNER


def test_without_permission(anyones: Path) -> None:
    """As an ordinary user: a record, a folder and a root that may not be read or written."""
    if os.geteuid() == 0:
        os.chown(anyones, 65534, 65534)
    as_nobody(
        """
root = pathlib.Path(sys.argv[1]) / "store"
store = open_store(root)
name = "k/w/key/verdict.json"
def raises(kind, call):
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind, caught.value
    return caught.value

store.put(name, b"data")
os.chmod(root / name, 0)
assert raises(RecordUnreadable, lambda: store.get(name)).reason is Unreadable.PERMISSION
assert list(store.list("")) == [name]
assert store.set_aside(name)
assert store.get(name) is None

store.put(name, b"data")
os.chmod(root / "k/w/key", 0o500)
assert store.get(name) == b"data"
assert not store.put_if_absent(name, b"new")
raises(StoreReadOnly, lambda: store.put(name, b"new"))
raises(StoreReadOnly, lambda: store.put_if_absent("k/w/key/new", b"new"))
raises(StoreReadOnly, lambda: store.delete_if(name, b"data"))
assert not store.set_aside(name)
store.put("k/w/other/verdict.json", b"fine")

os.chmod(root / "k/w/key", 0)
assert raises(RecordUnreadable, lambda: store.get(name)).reason is Unreadable.PERMISSION
closed = raises(RecordUnreadable, lambda: list(store.list("k/w/key/")))
assert (closed.name, closed.reason) == ("k/w/key/", Unreadable.PERMISSION)
assert list(store.list("k/w/other/")) == ["k/w/other/verdict.json"]
raises(StoreReadOnly, lambda: store.put(name, b"new"))
assert not store.set_aside(name)
os.chmod(root / "k/w/key", 0o700)

os.chmod(root, 0o500)
assert store.get(name) == b"data"
assert not store.describe().writable and "may not write" in store.describe().note
raises(StoreReadOnly, lambda: store.put("new/w/key", b"new"))
os.chmod(root, 0)
raises(StoreUnavailable, lambda: store.get(name))
raises(StoreUnavailable, lambda: list(store.list("")))
raises(StoreReadOnly, lambda: store.put(name, b"new"))
assert not store.describe().writable and "may not read" in store.describe().note
os.chmod(root, 0o700)
""",
        anyones,
    )


@ROOT_ONLY
def test_what_root_bakes_into_an_image_every_user_reads(
    anyones: Path, umask: Callable[[int], int]
) -> None:
    """A miss is tuned in the process and counted; nothing is written and nothing moved."""
    umask(0o022)
    open_store(anyones / "store").put(NAME, b"baked into an image")
    as_nobody(
        f"""
store = open_store(sys.argv[1])
assert store.get({NAME!r}) == b"baked into an image"
assert list(store.list("")) == [{NAME!r}]
assert not store.describe().writable
for write in (store.put, store.put_if_absent):
    with pytest.raises(StoreReadOnly, match="readonly=1"):
        write("new", b"")
assert not store.set_aside({NAME!r})
for address in (sys.argv[1], "file://" + sys.argv[1] + "?readonly=1"):
    process, events = resolver(open_store(address))
    for number in (1, 2):
        asked = question(16, 32, n=number)
        assert process.resolve(asked).winner is None
        known = {{m.candidate: m for m in (measured(16, 1.0), measured(32, 2.0))}}
        for one in known.values():
            record(process, asked, one)
        assert process.publish(asked, known, known.popitem()[0], origin="measured", tune_s=1.0)
    assert events.problems() == ["store_failed"]
""",
        anyones / "store",
    )


@ROOT_ONLY
def test_two_users_of_a_group_share_a_volume(anyones: Path) -> None:
    """What a member of the group has written another one reads, replaces, removes and moves."""
    os.chown(anyones, 0, 2000)
    anyones.chmod(0o2775)
    as_nobody(
        f"""
def as_user(uid, work):
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.setresuid(uid, uid, uid)
            os.umask(0o022)
            work(open_store(sys.argv[1]))
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0, uid

def first(store):
    store.put({NAME!r}, b"of the first")
    store.put("k/w/2", b"broken")

def second(store):
    assert store.get({NAME!r}) == b"of the first"
    assert store.put_if_absent({NAME + "2"!r}, b"of the second")
    store.put({NAME!r}, b"of the second")
    assert store.set_aside("k/w/2", seen=b"broken")
    assert store.get("k/w/2") is None

def third(store):
    assert store.get({NAME!r}) == b"of the second"
    assert store.delete_if({NAME!r}, b"of the second")
    assert sorted(store.list("")) == [{NAME + "2"!r}]

for uid, work in ((1001, first), (1002, second), (1001, third)):
    as_user(uid, work)
""",
        anyones / "below" / "store",
        groups=(2000,),
    )


@ROOT_ONLY
def test_a_directory_of_another_user(anyones: Path) -> None:
    (anyones / "store").mkdir(mode=0o700)
    open_store(anyones / "store").put(NAME, b"private")
    as_nobody(
        f"""
store = open_store(sys.argv[1])
with pytest.raises(StoreUnavailable):
    store.get({NAME!r})
with pytest.raises(StoreReadOnly):
    store.put({NAME!r}, b"")
assert not store.set_aside({NAME!r})
assert not store.describe().writable
""",
        anyones / "store",
    )


@pytest.mark.skipif(os.geteuid() != 0 and os.access("/", os.W_OK), reason="/ is writable")
def test_home_is_the_root_directory_and_the_user_has_no_name() -> None:
    as_nobody(
        f"""
store = open_store("~/.cache/tuneonce")
assert store.describe().location == "/.cache/tuneonce", store.describe()
assert not store.describe().writable
assert store.get({NAME!r}) is None
assert list(store.list("")) == []
with pytest.raises(StoreReadOnly, match="TUNEONCE_STORE"):
    store.put({NAME!r}, b"")
assert not os.path.exists("/.cache/tuneonce")
"""
    )


# -- modes ----------------------------------------------------------------------------------------


def fill(root: Path, *, bake: bool = False) -> None:
    """One of everything that a store makes."""
    store = FileStore(root, bake=bake)
    store.put(NAME, b"one")
    store.put_if_absent("k/w/2", b"two", durable=False)
    store.put("k/w/3", b"three")
    assert store.set_aside("k/w/3")


def modes_of(root: Path) -> tuple[set[int], set[int]]:
    """The permissions of the folders, and of the files."""
    everything = [root, *root.rglob("*")]
    assert len(everything) == 10
    found: tuple[set[int], set[int]] = set(), set()
    for path in everything:
        found[path.is_file()].add(stat.S_IMODE(path.lstat().st_mode))
    return found


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o177, 0o777])
@pytest.mark.parametrize(
    ("mode", "folder", "file"),
    [
        (0o700, 0o700, 0o600),
        (0o750, 0o750, 0o640),
        (0o755, 0o755, 0o644),
        (0o711, 0o711, 0o600),
        (0o770, 0o2770, 0o660),
        (0o775, 0o2775, 0o664),
        (0o2750, 0o2770, 0o660),
        (0o2770, 0o2770, 0o660),
        (0o2777, 0o2775, 0o664),
        (0o777, 0o2775, 0o664),
    ],
    ids=oct,
)
def test_a_store_takes_after_its_root_whatever_the_umask(
    tmp_path: Path, umask: Callable[[int], int], mask: int, mode: int, folder: int, file: int
) -> None:
    root = tmp_path / "store"
    root.mkdir()
    root.chmod(mode)
    umask(mask)
    fill(root)
    folders, files = modes_of(root)
    assert stat.S_IMODE(root.stat().st_mode) == mode  # people mount it
    assert folders - {mode} <= {folder}
    assert files == {file}
    assert ("every user" in open_store(root).describe().note) is bool(mode & 0o002)


@pytest.mark.parametrize(
    ("above", "mask", "folder", "file"),
    [
        (0o700, 0o022, 0o700, 0o600),
        (0o700, 0o000, 0o700, 0o600),
        (0o755, 0o022, 0o755, 0o644),
        (0o755, 0o027, 0o750, 0o640),
        (0o755, 0o077, 0o700, 0o600),
        (0o755, 0o777, 0o700, 0o600),
        (0o755, 0o002, 0o755, 0o644),
        (0o750, 0o022, 0o750, 0o640),
        (0o2775, 0o022, 0o2775, 0o664),
        (0o2770, 0o022, 0o2770, 0o660),
        (0o2755, 0o022, 0o2775, 0o664),
        (0o775, 0o022, 0o2775, 0o664),
        # Whose umask closes everything to the group, shares nothing.
        (0o2775, 0o077, 0o700, 0o600),
        # A directory for temporary files: everybody's, and its group means nobody.
        (0o1777, 0o022, 0o755, 0o644),
        (0o1777, 0o077, 0o700, 0o600),
    ],
    ids=oct,
)
def test_a_root_that_is_made_takes_after_the_directory_it_is_made_in(
    tmp_path: Path, umask: Callable[[int], int], above: int, mask: int, folder: int, file: int
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(above)
    umask(mask)
    fill(volume / "between" / "store")
    assert modes_of(volume / "between" / "store") == ({folder}, {file})
    assert stat.S_IMODE((volume / "between").stat().st_mode) == folder
    assert {p.stat().st_gid for p in volume.rglob("*")} == {volume.stat().st_gid}


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o777])
@pytest.mark.parametrize("made", [False, True])
def test_what_is_baked_every_user_may_read(
    tmp_path: Path, umask: Callable[[int], int], mask: int, made: bool
) -> None:
    """Folders that an earlier step has closed are opened, too."""
    root = tmp_path / "store"
    umask(mask)
    if made:
        open_store(root).put("k/w/1", b"before")
        open_store(root).delete_if("k/w/1", b"before")
    fill(root, bake=True)
    assert modes_of(root) == ({0o755}, {0o644})


def test_what_is_baked_into_a_groups_root(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    fill(tmp_path / "store", bake=True)
    assert modes_of(tmp_path / "store") == ({0o2775}, {0o664})


def test_the_environment_asks_for_baking(
    tmp_path: Path, umask: Callable[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    umask(0o077)
    monkeypatch.setenv("TUNEONCE_BAKE", "1")
    open_store(tmp_path / "store").put("k", b"")
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o755
    monkeypatch.setenv("TUNEONCE_BAKE", "maybe")
    with pytest.raises(SettingsError, match="TUNEONCE_BAKE"):
        open_store(tmp_path / "store")


def test_a_group_that_cannot_be_had_is_not_replaced_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user is in no group of the root's: nobody but the user may write what is made."""
    root = tmp_path / "store"
    root.mkdir()
    root.chmod(0o777)
    real, place = os.fstat, root.stat()

    def of_another_group(fd: int) -> os.stat_result:
        found = list(real(fd))
        found[stat.ST_GID] += 4242 if found[stat.ST_INO] == place.st_ino else 0
        return os.stat_result(found)

    def refused(*args: object, **options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    FileStore(root).put("a/b", b"")
    monkeypatch.setattr(os, "fstat", of_another_group)
    monkeypatch.setattr(os, "chown", refused)
    FileStore(root).put("a/c", b"")
    assert stat.S_IMODE((root / "a/b").stat().st_mode) == 0o664
    assert stat.S_IMODE((root / "a/c").stat().st_mode) == 0o644


@ROOT_ONLY
def test_what_root_writes_below_another_users_home_is_that_users(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    os.chown(home, 1000, 1000)
    fill(home / ".cache" / "store")
    assert {path.stat().st_uid for path in home.rglob("*")} == {1000}
    assert modes_of(home / ".cache" / "store") == ({0o700}, {0o600})


def test_nothing_is_made_before_the_first_put(tmp_path: Path) -> None:
    root = tmp_path / "a" / "b"
    store = open_store(root)
    assert store.get(NAME) is None
    assert list(store.list("")) == []
    assert not store.set_aside(NAME)
    assert not store.delete_if(NAME, b"")
    assert store.describe().writable
    assert "does not exist yet" in store.describe().note
    store.close()
    assert list(tmp_path.iterdir()) == []
