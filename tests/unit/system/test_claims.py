"""Claims: one has each, it ends with its process, and says how far it is."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tuneonce.system.claims import Claim, Claims


@pytest.fixture
def claims(tmp_path: Path) -> Claims:
    return Claims(tmp_path)


def taken(claims: Claims, name: str = "key") -> Claim:
    claim = claims.take(name)
    assert claim is not None
    return claim


def test_one_has_it_until_it_gives_it_up(claims: Claims, tmp_path: Path) -> None:
    claim = taken(claims)
    assert not claim.inherited
    assert claims.take("key") is None
    assert claims.take("another") is not None
    claim.give_up()
    claim.give_up()
    assert not (tmp_path / "key.claim").exists()
    assert not taken(claims).inherited


def test_whoever_has_it_says_that_it_goes_on(claims: Claims) -> None:
    assert claims.progress("key") is None
    claim = taken(claims)
    assert claims.progress("key") == 1
    claim.advance()
    assert claims.progress("key") == 2
    claim.give_up()
    claim.advance()
    assert claims.progress("key") is None


def test_it_ends_with_its_process_which_leaves_that_it_was_there(claims: Claims) -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        taken(claims).advance()
        os.write(write, b"x")
        signal.pause()
    os.read(read, 1)
    assert claims.take("key") is None
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert claims.progress("key") == 2
    claim = taken(claims)
    assert claim.inherited
    assert claims.progress("key") == 3


def test_a_child_that_was_forked_meanwhile_does_not_keep_it(claims: Claims) -> None:
    claim = taken(claims)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    claim.give_up()
    assert claims.take("key") is not None
    os.close(write)
    os.waitpid(pid, 0)


def test_a_name_that_is_removed_while_it_is_opened_is_opened_again(
    claims: Claims, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever locks a file whose name is gone would have it beside whoever makes it anew."""
    open_file, removed = os.open, []

    def opened(path: Path, *args: int) -> int:
        fd = open_file(path, *args)
        if not removed:
            removed.append(path)
            Path(path).unlink()
        return fd

    monkeypatch.setattr(os, "open", opened)
    claim = taken(claims)
    assert removed == [tmp_path / "key.claim"]
    assert removed[0].exists()
    assert claims.take("key") is None
    claim.give_up()


def test_what_is_no_file_is_an_error_and_not_waited_for(claims: Claims, tmp_path: Path) -> None:
    (tmp_path / "link.claim").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "pipe.claim")
    (tmp_path / "folder.claim").mkdir()
    for name in ("link", "pipe", "folder"):
        with pytest.raises(OSError, match=r"is no file|Errno"):
            claims.take(name)
        assert not claims.progress(name)
    assert not (tmp_path / "elsewhere").exists()
    with pytest.raises(OSError, match=r"is no file|Errno"):
        Claims(tmp_path / "nowhere").take("key")
