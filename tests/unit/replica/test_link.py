"""A program's link to its remote: what it waits for, and that nothing it meets holds it up."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.factories import H100, H200, make_key, make_shared, put_shared, put_verdict
from tuneonce.replica import link as module
from tuneonce.replica.link import Link
from tuneonce.replica.wishes import Said, Turn
from tuneonce.store.files import FileStore
from tuneonce.store.memory import MemoryStore
from tuneonce.system.claims import Claims
from tuneonce.system.patience import Patience

TIMES = {64: (0.2,), 128: (0.1,)}
LONG_S = 60.0


def name_of(kernel: str) -> str:
    return put_verdict(MemoryStore(), make_key(kernel), TIMES)


class Machine:
    """A store, a directory for claims, and links to one remote."""

    def __init__(self, home: Path, remote: str) -> None:
        self.store, self.remote = FileStore(home / "store"), remote
        self._address, self._claims = str(home / "store"), home / "claims"
        self._claims.mkdir(parents=True)
        self.told: list[Said] = []
        self.links: list[Link] = []

    def link(self, **more: Any) -> Link:
        more.setdefault("patience", Patience(LONG_S))
        made = Link(
            self._address,
            self.remote,
            claims=Claims(self._claims),
            tell=self.told.append,
            **more,
        )
        self.links.append(made)
        return made

    def pulled(self) -> Link:
        """A link whose courier has pulled, and answers."""
        made = self.link()
        assert made.await_pulled(name_of("nothing"))
        return made

    def keep(self, kernel: str) -> str:
        return put_verdict(self.store, make_key(kernel), TIMES)

    def words(self, what: str) -> list[Said]:
        return [one for one in self.told if one.what == what]

    @property
    def claimed(self) -> list[str]:
        return sorted(path.name for path in self._claims.iterdir())

    def close(self) -> None:
        for link in self.links:
            link.hear()
            courier = link.courier
            link.close()
            if courier is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(courier, signal.SIGKILL)


def courier_of(link: Link) -> int:
    """The process of its courier, as soon as that is there."""
    until = time.monotonic() + LONG_S
    while link.courier is None:
        assert time.monotonic() < until
        link._hear(1.0)
    return link.courier


def await_end(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(process)
        ended = select.poll()
        ended.register(descriptor, select.POLLIN)
        assert ended.poll(LONG_S * 1000)
        os.close(descriptor)


def await_words(link: Link, machine: Machine, what: str) -> list[Said]:
    """What it says of this kind, as soon as it does."""
    until = time.monotonic() + LONG_S
    while not machine.words(what):
        assert time.monotonic() < until
        link._hear(1.0)
    return machine.words(what)


@pytest.fixture(autouse=True)
def _long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PULL_S", LONG_S)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[list[Machine]]:
    made = [Machine(tmp_path / str(i), f"file://{tmp_path}/remote") for i in range(2)]
    yield made
    for one in made:
        one.close()


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[Machine]:
    """One whose remote takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = Machine(tmp_path / "silent", f"redis://127.0.0.1:{server.getsockname()[1]}")
        yield made
        made.close()


def test_what_one_machine_kept_another_has_at_its_start(machines: list[Machine]) -> None:
    one, other = machines
    link = one.pulled()
    name = one.keep("add")
    link.kept(name)
    link.finish(LONG_S)
    assert [said.records for said in one.words("pushed")] == [1]
    later = other.link()
    later.begin()
    assert later.await_pulled(name)
    assert other.store.get(name) == one.store.get(name)
    assert sum(said.records for said in other.words("pulled") if said.name) == 1
    # Said once: the store was asked again then.
    assert not later.await_pulled(name)


def test_who_does_not_know_its_shelf_waits_for_all(machines: list[Machine]) -> None:
    one, other = machines
    link = one.pulled()
    names = [put_shared(one.store, make_shared(key=make_key(product=p))) for p in (H100, H200)]
    for name in names:
        link.kept(name)
    link.finish(LONG_S)
    later = other.link()
    assert later.await_all()
    assert [other.store.get(name) for name in names] == [one.store.get(name) for name in names]
    # Who knows it is told, too, and by then the other process pulls no more.
    assert later.await_pulled(names[0])
    assert not later.await_all()


def test_what_was_never_pushed_is_at_the_next_start(machines: list[Machine]) -> None:
    one, other = machines
    name = one.keep("add")
    await_words(one.pulled(), one, "pushed")
    later = other.link()
    assert later.await_pulled(name)
    assert other.store.get(name) is not None


def test_of_two_machines_one_measures(machines: list[Machine]) -> None:
    one, other = (machine.pulled() for machine in machines)
    name = name_of("add")
    assert (one.claim(name), other.claim(name)) == (Turn.OURS, Turn.THEIRS)
    machines[0].keep("add")
    one.kept(name)
    until = time.monotonic() + LONG_S
    while machines[1].store.get(name) is None:  # it comes by itself
        assert time.monotonic() < until
        time.sleep(0.01)
    assert other.claim(name) is Turn.KNOWN
    name = name_of("mul")
    assert (other.claim(name), one.claim(name)) == (Turn.OURS, Turn.THEIRS)
    other.give_up(name)
    one.give_up(name)
    other.claim(name_of("div"))  # once that is answered, what was wished for before is done
    assert one.claim(name) is Turn.OURS


def test_one_process_of_a_machine_pulls(machines: list[Machine]) -> None:
    one, other = machines
    name = one.keep("add")
    first = one.pulled()
    first.kept(name)
    first.finish(LONG_S)
    pulls, waits = other.link(), other.link()
    pulls.begin()
    waits.begin()
    assert waits._channel is None
    assert waits.await_pulled(name)
    assert other.store.get(name) is not None
    assert other.claimed == []


def test_a_claim_of_a_pull_that_was_killed_is_taken_over(machines: list[Machine]) -> None:
    one, _ = machines
    killed, link = one.link(), one.link()
    killed.begin()
    courier = courier_of(killed)
    os.kill(courier, signal.SIGKILL)
    await_end(courier)
    link.begin()
    assert link._channel is not None
    assert link.await_pulled(name_of("add"))


# -- what goes wrong -------------------------------------------------------------------------------


def test_patience_is_spent_once(silent: Machine) -> None:
    link = silent.link(patience=Patience(0.2))
    link.begin()
    name = name_of("add")
    began = time.monotonic()
    assert not link.await_pulled(name)
    assert time.monotonic() - began >= 0.19
    waited = []
    for call in (link.await_pulled, link.claim):
        before = link._patience.left
        assert call(name) in (False, Turn.OURS)
        waited.append(before - link._patience.left)
    assert max(waited) < 0.05
    assert link._patience.left == 0.0


def test_one_that_answers_no_more_is_waited_for_once(
    machines: list[Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    link = machines[0].pulled()
    os.kill(courier_of(link), signal.SIGSTOP)
    monkeypatch.setattr(module, "ANSWER_S", 0.1)
    waited = []
    for kernel in ("add", "mul"):
        before = link._patience.left
        assert link.claim(name_of(kernel)) is Turn.OURS
        waited.append(before - link._patience.left)
    assert waited[0] >= 0.09
    assert waited[1] < 0.05
    link.kept(machines[0].keep("add"))
    began = time.monotonic()
    link.finish(LONG_S)
    assert time.monotonic() - began < LONG_S / 2
    # Once it says something, it is asked again.
    os.kill(courier_of(link), signal.SIGCONT)
    link._hear(LONG_S)
    monkeypatch.setattr(module, "ANSWER_S", LONG_S)
    assert link.claim(name_of("add")) is Turn.KNOWN


def test_nobody_waits_for_a_pull_that_began_long_ago(silent: Machine) -> None:
    now = [0.0]
    link = silent.link(clock=lambda: now[0])
    link.begin()
    now[0] = module.PULL_S
    assert not link.await_pulled(name_of("add"))
    assert link._patience.left > LONG_S - 1


def test_the_end_of_a_program_is_bounded(silent: Machine) -> None:
    link = silent.link()
    link.begin()
    link.finish(LONG_S)  # nothing was kept
    link.kept(silent.keep("add"))
    link.finish(LONG_S)  # it has never answered
    link._is_pulled = True
    link.finish(0.05)
    assert silent.told == []


@pytest.mark.parametrize("why", ["refused", "no address", "read-only store"])
def test_a_remote_that_cannot_be_is_told_of_once(tmp_path: Path, why: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    remotes = {"refused": f"redis://user:secret@127.0.0.1:{port}", "no address": "gopher://x"}
    machine = Machine(tmp_path, remotes.get(why, f"file://{tmp_path}/remote"))
    if why == "read-only store":
        there = Machine(tmp_path / "there", machine.remote)
        link = there.pulled()
        link.kept(there.keep("add"))
        link.finish(LONG_S)
        there.close()
        machine._address += "?readonly=1"
        machine._address = f"file://{machine._address}"
    link = machine.link()
    assert not link.await_pulled(name_of("add"))
    assert link.claim(name_of("add")) is Turn.OURS
    link.kept(name_of("add"))
    link.finish(LONG_S)
    (said,) = machine.told
    assert said.what == "failed"
    assert "secret" not in said.message
    assert link._channel is None
    machine.close()


def test_a_courier_that_is_killed_is_done_without(machines: list[Machine]) -> None:
    link = machines[0].pulled()
    assert link.claim(name_of("add")) is Turn.OURS
    os.kill(courier_of(link), signal.SIGKILL)
    assert link.claim(name_of("mul")) is Turn.OURS
    assert [said.what for said in machines[0].told].count("failed") == 1
    assert link._channel is None


def test_one_that_rests_is_started_again(machines: list[Machine]) -> None:
    link = machines[0].pulled()
    first = courier_of(link)
    with link._lock:
        link._take(Said("rests"))
    assert link._channel is None
    await_end(first)
    link.courier = None
    assert link.claim(name_of("mul")) is Turn.OURS
    assert courier_of(link) != first
    assert machines[0].words("failed") == []


@pytest.mark.parametrize("ends", [False, True])
def test_one_that_rests_while_it_is_waited_for(machines: list[Machine], ends: bool) -> None:
    link = machines[0].pulled()
    heard = link._hear

    def hear_that_it_rests(seconds: float) -> None:
        heard(0.0)
        if seconds:
            link._part()

    link.kept(machines[0].keep("add"))
    link._hear = hear_that_it_rests  # type: ignore[method-assign]
    began = time.monotonic()
    if ends:
        link.finish(LONG_S)
    else:
        link.claim(name_of("add"))
    assert time.monotonic() - began < LONG_S / 2


def test_no_process_is_started_where_there_is_no_room(
    machines: list[Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "room_for_processes", lambda: module.SPARED - 1)
    link = machines[0].link()
    link.begin()
    assert not link.await_pulled(name_of("add"))
    assert link.claim(name_of("add")) is Turn.OURS
    assert link._channel is None
    assert machines[0].claimed == []


@pytest.mark.parametrize("why", ["frozen", "embedded"])
def test_no_program_is_started_once_more(
    machines: list[Machine], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why == "frozen":
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    else:
        monkeypatch.setattr(sys, "executable", "/usr/sbin/uwsgi")
    link = machines[0].link()
    link.begin()
    assert not link.await_pulled(name_of("add"))
    assert link._channel is None
    assert [said.what for said in machines[0].told] == ["failed"]
    assert machines[0].claimed == []


def test_what_a_server_says_is_told_as_a_short_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"-ERR \x1b[31m" + b"x" * 5000 + b"\r\n" * 10)

        thread = threading.Thread(target=answer)
        thread.start()
        machine = Machine(tmp_path, f"redis://127.0.0.1:{server.getsockname()[1]}")
        assert not machine.link().await_pulled(name_of("add"))
        thread.join()
    (said,) = machine.told
    assert "[31mxxx" in said.message
    assert said.message.isprintable()
    assert len(said.message) <= 1000
    machine.close()


# -- forks and ends --------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["at once", "pulled", "in use"])
def test_a_forked_child_has_its_own(machines: list[Machine], when: str) -> None:
    link = machines[0].link()
    link.begin()
    if when != "at once":
        link.await_pulled(name_of("add"))
    stop = threading.Event()
    thread = threading.Thread(
        target=lambda: [link.claim(name_of("x")) for _ in iter(stop.is_set, True)]
    )
    if when == "in use":
        thread.start()
    name = name_of("mul")
    courier = None if when == "at once" else courier_of(link)
    pid = os.fork()
    if not pid:
        status = 1
        with contextlib.suppress(BaseException):
            is_new = link._channel is None and link.courier is None
            turn = link.claim(name)
            link.hear()
            status = 0 if is_new and turn is Turn.OURS and link.courier != courier else 2
            link.close()
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    stop.set()
    if when == "in use":
        thread.join()
    assert link.claim(name_of("div")) is Turn.OURS


def test_the_courier_ends_with_its_program_and_pushes_first(
    machines: list[Machine], tmp_path: Path
) -> None:
    one, other = machines
    reader, writer = os.pipe()
    name = name_of("add")
    pid = os.fork()
    if not pid:
        status = 1
        with contextlib.suppress(BaseException):
            os.close(reader)
            link = one.pulled()
            link.claim(name)
            one.keep("add")
            link.kept(name)
            os.write(writer, b"%d" % courier_of(link))
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(status)
    os.close(writer)
    courier = int(os.read(reader, 100))
    os.close(reader)
    os.waitpid(pid, 0)
    await_end(courier)
    later = other.link()
    assert later.await_pulled(name)
    assert other.store.get(name) is not None


def test_a_forked_child_waits_for_nothing_that_its_parent_has_waited_for(silent: Machine) -> None:
    link = silent.link(patience=Patience(0.05))
    link.begin()
    link.await_pulled(name_of("add"))
    pid = os.fork()
    if not pid:
        status = 1
        with contextlib.suppress(BaseException):
            began = time.monotonic()
            link.await_pulled(name_of("mul"))
            link.claim(name_of("mul"))
            status = int(time.monotonic() - began > 1.0)
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


# -- programs that are not as others ---------------------------------------------------------------


def test_no_child_is_left_to_wait_for(machines: list[Machine]) -> None:
    link = machines[0].pulled()
    courier = courier_of(link)
    assert Path(f"/proc/{courier}/stat").read_text().rpartition(")")[2].split()[1] != str(
        os.getpid()
    )
    os.kill(courier, signal.SIGKILL)
    await_end(courier)
    assert link.claim(name_of("add")) is Turn.OURS
    with pytest.raises(ChildProcessError):
        os.waitpid(courier, os.WNOHANG)


def test_a_program_that_lets_a_broken_pipe_end_it(machines: list[Machine]) -> None:
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        link = machines[0].pulled()
        courier = courier_of(link)
        os.kill(courier, signal.SIGKILL)
        await_end(courier)
        link.give_up(name_of("add"))
        link.kept(name_of("add"))
    finally:
        signal.signal(signal.SIGPIPE, before)
    assert [said.what for said in machines[0].told].count("failed") == 1


def test_a_program_that_closes_what_it_did_not_open(
    machines: list[Machine], tmp_path: Path
) -> None:
    link = machines[0].pulled()
    assert link._channel is not None
    assert link._channel._end is not None
    number = link._channel._end.fileno()
    with (tmp_path / "theirs").open("w+b", buffering=0) as theirs:
        os.dup2(theirs.fileno(), number)
        try:
            theirs.write(b"theirs")
            link.kept(name_of("add"))
            assert link.claim(name_of("add")) is Turn.OURS
            link.finish(LONG_S)
            link.close()
            os.fstat(number)  # it is still open
        finally:
            os.close(number)
    assert (tmp_path / "theirs").read_bytes() == b"theirs"
    assert [said.what for said in machines[0].told].count("failed") == 1


@pytest.mark.parametrize("paths", [[None], [b"/nowhere"], [""]])
def test_paths_that_are_none_cost_the_remote_at_most(
    machines: list[Machine], paths: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, *paths])
    link = machines[0].link()
    link.begin()
    assert link.await_pulled(name_of("add")) is (paths != [None])
    assert len(machines[0].words("failed")) == (paths == [None])


def test_threads_that_wait_at_once_wait_once(silent: Machine) -> None:
    link = silent.link(patience=Patience(0.5))
    link.begin()
    threads = [threading.Thread(target=link._wait, args=(lambda: False, 0.2)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert link._patience.left > 0.05
