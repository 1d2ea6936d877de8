"""One of several processes that use one store at once: ``store_racer.py GAME ADDRESS ME ROUNDS``.

Waits for a line on stdin, plays, and prints what it won as JSON.
"""

from __future__ import annotations

import json
import sys

from tuneonce.store import Store, open_store


def first(store: Store, me: str, rounds: int) -> list[int]:
    """Put into the same names as everybody else. Whoever loses is quick, so all stay abreast."""
    won = []
    for number in range(rounds):
        name = f"kernel/world/{number}/verdict.json"
        mine = (f"{me}:{number}:" * 500).encode()
        if store.put_if_absent(name, mine, durable=False):
            won.append(number)
        data = store.get(name)
        assert data is not None, name
        winner = data.split(b":", 1)[0].decode()
        assert data == (f"{winner}:{number}:" * 500).encode(), name
    return won


def delete(store: Store, me: str, rounds: int) -> list[int]:
    return [n for n in range(rounds) if store.delete_if(f"kernel/old/{n}.json", b"old")]


def claim(store: Store, me: str, rounds: int) -> list[int]:
    """Take and release one claim until it was ours ``rounds`` times; nobody else may be inside."""
    mine = me.encode()
    for _ in range(rounds):
        while not store.put_if_absent("claim", mine, durable=False):
            assert not store.delete_if("claim", b"nobody")
        assert store.put_if_absent("inside", mine, durable=False)
        assert store.get("claim") == mine
        assert store.delete_if("inside", mine)
        assert store.delete_if("claim", mine)
    return [rounds]


def overwrite(store: Store, me: str, rounds: int) -> list[int]:
    """Replace one record again and again; whatever is read is whole."""
    for _ in range(rounds):
        store.put("shared", me.encode() * 20_000, durable=False)
        data = store.get("shared")
        assert data is not None
        assert data == data[:1] * 20_000
        for name in store.list(""):
            assert name == "shared"
    return [rounds]


def main() -> None:
    game, address, me, rounds = sys.argv[1:]
    with open_store(address) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        won = {"first": first, "delete": delete, "claim": claim, "overwrite": overwrite}[game](
            store, me, int(rounds)
        )
    print(json.dumps(won))


if __name__ == "__main__":
    main()
