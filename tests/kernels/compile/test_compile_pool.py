"""The compile pool with several jobs, threads, processes and forks at once."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

from tests.fakes import Children
from tests.kernels.jobs import OBEDIENT, job, make_add, make_scale
from tests.kernels.pool_lab import FOUR, TOO_LONG, autotuned, blocks, cache, launch, release, tuner
from tuneonce.triton.compile import helper_process
from tuneonce.triton.compile.helper_process import HelperLost
from tuneonce.triton.compile.pool import CompilePool
from tuneonce.triton.compile.worker import job_slots

pytestmark = pytest.mark.usefixtures("obedient")


def test_jobs_that_are_dropped(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    pool = CompilePool(workers=1)
    try:
        first = pool.submit(job(does=["wait", str(tmp_path / "fifo")]))
        dropped, kept = pool.submit(job(128)), pool.submit(job(256))
        pool.drop([dropped])
        with pytest.raises(CancelledError):
            dropped.result(0)
        release(tmp_path / "fifo")
        for future in (first, kept):
            assert future.result(TOO_LONG).seconds > 0
        assert len(list(cache().glob("*/add.cubin"))) == 2
    finally:
        pool.close()


def test_what_is_urgent_goes_first(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    pool = CompilePool(workers=1)
    done: list[str] = []
    try:
        first = pool.submit(job(does=["wait", str(tmp_path / "fifo")]))
        futures = {
            "later": pool.submit(job(64), urgent=False),
            "hurried": pool.submit(job(128), urgent=False),
            "urgent": pool.submit(job(256)),
        }
        for name, future in futures.items():
            future.add_done_callback(lambda _, name=name: done.append(name))
        pool.hurry(futures["hurried"])
        release(tmp_path / "fifo")
        for future in (first, *futures.values()):
            future.exception(TOO_LONG)
    finally:
        pool.close()
    assert done == ["urgent", "hurried", "later"]


def test_what_is_urgent_does_not_wait_for_what_can_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    pool = CompilePool(workers=1, slots=lambda: tmp_path)
    try:
        later = pool.submit(job(does=["wait", str(tmp_path / "fifo")]), urgent=False)
        with (tmp_path / "fifo").open("w"):  # it runs, and has the slot of its kind
            after = pool.submit(job(64), urgent=False)
            assert pool.submit(job(128)).result(TOO_LONG).seconds > 0
            assert not later.done()
            assert not after.done()
        for future in (later, after):
            assert future.result(TOO_LONG).seconds > 0
    finally:
        pool.close()


def test_what_waits_for_a_slot_may_become_urgent(tmp_path: Path) -> None:
    """Another process works ahead and has all slots for that."""
    import fcntl

    pool = CompilePool(workers=1, slots=lambda: tmp_path)
    try:
        with (tmp_path / "later-0.lock").open("ab") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            waiting = pool.submit(job(64), urgent=False)
            assert pool.submit(job(128)).result(TOO_LONG).seconds > 0
            assert not waiting.done()
            pool.hurry(waiting)
            assert waiting.result(TOO_LONG).seconds > 0
            last = pool.submit(job(256), urgent=False)
        assert last.result(TOO_LONG).seconds > 0  # when the slot is free
    finally:
        pool.close()


def test_two_threads_tune_two_kernels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "tuneonce")
    winners: dict[str, int] = {}
    start = threading.Barrier(2)

    def tune_one(name: str, kernel: Any) -> None:
        start.wait(TOO_LONG)
        winners[name] = launch(kernel)

    with tuner() as tuning:
        threads = [
            threading.Thread(target=tune_one, args=(name, autotuned(make(), blocks(16, *FOUR))))
            for name, make in (("add", make_add), ("scale", make_scale))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TOO_LONG)
        assert winners == {"add": 512, "scale": 512}
        assert tuning.events.problems() == []
        # Python's parser may fail in two threads at once: then the launch does it.
        assert tuning.ahead + tuning.here == 10
        assert tuning.ahead >= 9, caplog.text


def test_a_slot_that_nobody_gives_back_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    monkeypatch.setattr(job_slots, "_SLOT_S", 0.05)
    before = signal.getsignal(signal.SIGALRM)
    with (tmp_path / "slot-0.lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            with pytest.raises(TimeoutError):
                job_slots.taken_slot(tmp_path, "slot", 1)
            with job_slots.slot(tmp_path, "slot", 1):
                pass
        finally:
            signal.signal(signal.SIGALRM, before)
    with os.fdopen(job_slots.taken_slot(tmp_path, "slot", 1)):
        assert job_slots.taken_slot(tmp_path, "slot", 1, wait=False) is None
        with job_slots.slot(tmp_path, "slot", 1, wait=False) as got:
            assert not got
    for directory in (tmp_path / "gone", None):
        with job_slots.slot(directory, "slot", 1):
            pass


def test_what_is_not_urgent_starts_no_more_than_there_are_cores(tmp_path: Path) -> None:
    """Of both kinds together; what is urgent waits for neither."""
    urgent = job_slots.taken_slot(tmp_path, "slot", 2)
    later = job_slots.taken_slot(tmp_path, "later", 2, wait=False, beside="slot")
    assert later is not None
    assert job_slots.taken_slot(tmp_path, "later", 2, wait=False, beside="slot") is None
    without = job_slots.taken_slot(tmp_path, "later", 2, wait=False)
    another = job_slots.taken_slot(tmp_path, "slot", 2, wait=False)
    for fd in (urgent, later, without, another):
        assert fd is not None
        os.close(fd)
    with job_slots.slot(tmp_path, "later", 1, wait=False, beside="slot") as got:
        assert got


@pytest.mark.parametrize("what", ["fifo", "directory", "link"])
def test_what_stands_in_a_slot_s_place_is_not_waited_for(tmp_path: Path, what: str) -> None:
    slot = tmp_path / "slot-0.lock"
    if what == "fifo":
        os.mkfifo(slot)
    elif what == "directory":
        slot.mkdir()
    else:
        slot.symlink_to(tmp_path / "elsewhere")
    pool = CompilePool(workers=1, slots=lambda: tmp_path)
    try:
        assert pool.submit(job(64)).result(TOO_LONG).seconds > 0
    finally:
        pool.close()
    assert not (tmp_path / "elsewhere").exists()


def test_processes_share_the_slots_of_a_node(tmp_path: Path) -> None:
    """Two pools with one slot: the second compiles when the first has finished."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "slots").mkdir()
    pools = [CompilePool(workers=1, slots=lambda: tmp_path / "slots") for _ in range(2)]
    try:
        # In the child that has the slot.
        first = pools[0].submit(job(does=["wait", str(tmp_path / "fifo")]))
        with (tmp_path / "fifo").open("w"):  # it is there now
            second = pools[1].submit(job(128))
            assert not second.done()
        for future in (first, second):
            assert future.result(TOO_LONG).seconds > 0
    finally:
        for pool in pools:
            pool.close()


def forked_by(pool: CompilePool) -> list[int]:
    """The processes that a pool's helper has now."""
    assert pool._helper is not None
    pid = pool._helper.process.pid
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_who_has_no_slot_is_not_forked_but_for_one(tmp_path: Path) -> None:
    """As many ranks as there are start hardly more processes than one alone."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "slots").mkdir()
    pools = [CompilePool(workers=3, slots=lambda: tmp_path / "slots") for _ in range(2)]
    try:
        # A helper asks the assembler for its version once, in a process of its own.
        assert pools[1].submit(job(16)).result(TOO_LONG).seconds > 0
        wait = ["wait", str(tmp_path / "fifo")]
        busy = [pools[0].submit(job(block, does=wait)) for block in (64, 128, 256)]
        with (tmp_path / "fifo").open("w"):  # all slots are taken
            while len(forked_by(pools[0])) < 3:
                pass
            others = [pools[1].submit(job(block)) for block in (512, 1024, 2048)]
            spare = pools[1].submit(job(4096), urgent=False)
            while not forked_by(pools[1]):
                pass
            for _ in range(1000):
                os.sched_yield()
                assert len(forked_by(pools[1])) == 1
            assert not any(future.done() for future in (*others, spare))
        for future in (*busy, *others, spare):
            assert future.result(TOO_LONG).seconds > 0
    finally:
        for pool in pools:
            pool.close()


def test_slots_that_nobody_gives_back_are_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    impatient = tmp_path / "impatient_helper.py"
    impatient.write_text(
        "import runpy\n"
        f"helper = runpy.run_path({str(OBEDIENT)!r})['helper']\n"
        "helper.job_slots._SLOT_S = 0.05\n"
        "helper.main()\n"
    )
    monkeypatch.setattr(helper_process, "_PROGRAM", impatient)
    pool = CompilePool(workers=2, slots=lambda: tmp_path)
    held = [(tmp_path / f"slot-{number}.lock").open("ab") for number in range(2)]
    try:
        for file in held:
            fcntl.flock(file, fcntl.LOCK_EX)
        futures = [pool.submit(job(block)) for block in (64, 128, 256)]
        for future in futures:
            assert future.result(TOO_LONG).seconds > 0
    finally:
        pool.close()
        for file in held:
            file.close()


def test_a_helper_that_has_nothing_to_do_ends_with_the_start(pool: CompilePool) -> None:
    """It is of the program's session, and none of its files is left open."""
    assert pool.submit(job(64)).result(TOO_LONG).seconds > 0
    assert pool._helper is not None
    process = pool._helper.process
    assert os.getsid(process.pid) == os.getsid(0)
    assert os.getpgid(process.pid) == process.pid
    pool.finish()
    assert process.wait(TOO_LONG) in (0, -signal.SIGKILL)  # with a child that was not reaped yet
    assert pool.submit(job(128)).result(TOO_LONG).seconds > 0  # a key that is met later


def test_who_closes_a_pool_waits_for_helpers_that_were_let_go(pool: CompilePool) -> None:
    """What such a helper removes last would otherwise outlive the program."""
    assert pool.submit(job(64)).result(TOO_LONG).seconds > 0
    helper = pool._helper
    assert helper is not None
    pool.finish()
    assert pool._helper is None
    pool.close()
    assert helper.ended.is_set()


def test_who_closes_a_pool_waits_for_no_helper_that_was_lost(
    pool: CompilePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A launch does so, to go on without one."""
    assert pool.submit(job(64)).result(TOO_LONG).seconds > 0
    helper = pool._helper
    assert helper is not None
    waited: list[float | None] = []
    os.kill(helper.process.pid, signal.SIGSTOP)  # so that it does not end
    with monkeypatch.context() as patched:
        patched.setattr(helper.ended, "wait", waited.append)
        with pool._lock:
            pool._lose(helper, "it says nothing")
        pool.close()
        assert not helper.ended.is_set()
    helper.kill()
    assert waited == []


def test_a_helper_that_has_something_to_do_ends_after_it(pool: CompilePool, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    last = pool.submit(job(64, does=["wait", str(tmp_path / "fifo")]))
    assert pool._helper is not None
    process = pool._helper.process
    pool.finish()
    assert process.poll() is None
    release(tmp_path / "fifo")
    assert last.result(TOO_LONG).seconds > 0
    assert process.wait(TOO_LONG) in (0, -signal.SIGKILL)


def test_a_pool_that_was_closed_starts_again(pool: CompilePool) -> None:
    pool.close()
    assert pool.submit(job(64)).result(TOO_LONG).seconds > 0
    waiting = pool.submit(job(128, does=["pause"]))
    pool.close()
    with pytest.raises(HelperLost):
        waiting.result(TOO_LONG)
    assert pool.submit(job(128)).result(TOO_LONG).seconds > 0


# -- forks ---------------------------------------------------------------------------------------


FORKS = """
    import json, os, sys
    import torch, triton, triton.language as tl
    import tuneonce
    from tuneonce.activation import install as activation
    from tuneonce.testing import SimulatedGPU

    tuneonce.install()

    @triton.jit
    def add(x, out, n, BLOCK: tl.constexpr):
        i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(out + i, tl.load(x + i, mask=i < n) + 1, mask=i < n)

    configs = [triton.Config({"BLOCK": b}) for b in (64, 128, 256, 512)]
    kernel = triton.autotune(configs, ["n"])(add)

    def tune(n, dtype):
        kernel[(16,)](torch.ones(1024, dtype=dtype), torch.zeros(1024), n)
        helper = pool()._helper
        socket = os.readlink(f"/proc/self/fd/{helper.input.fileno()}")
        return {"pid": helper.process.pid, "socket": socket}

    def pool():
        return activation._installed.hook._workers._pool

    with SimulatedGPU(do_bench=True):
        first = tune(1024, torch.float32)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            links = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                     if os.path.islink(f"/proc/self/fd/{fd}")]
            held = first["socket"] in links
            mine = tune(1024, torch.float16)
            os.write(write, json.dumps([held, mine["pid"]]).encode())
            sys.exit(0)
        os.close(write)
        with open(read) as told:
            held, pid = json.load(told)
        status = os.waitpid(child, 0)[1]
        again = tune(1024, torch.bfloat16)
    print(json.dumps({"held": held, "child": pid, "first": first["pid"], "again": again["pid"],
                      "status": status}))
"""


def test_a_fork_has_a_helper_of_its_own(warm_children: Children, tmp_path: Path) -> None:
    said = warm_children.run(
        FORKS,
        TUNEONCE="1",
        TUNEONCE_WORKERS="2",
        TUNEONCE_EVENTS=str(tmp_path / "events"),
        PYTHONWARNINGS="ignore",
    )
    assert said["status"] == 0
    assert not said["held"]
    assert said["again"] == said["first"] != said["child"]
    files = (tmp_path / "events").iterdir()
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    compiles = [line for line in lines if line.get("e") == "compile"]
    assert len(compiles) == 12
    assert all(line.get("ahead") for line in compiles)
    assert not [line for line in lines if line.get("e") == "problem"]
