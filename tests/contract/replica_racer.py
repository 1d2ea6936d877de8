"""One of several processes that divide work: ``replica_racer.py ADDRESS SHELF ME ROUNDS``.

Waits for a line on stdin, makes what nobody else makes, and prints what that was as JSON.
"""

from __future__ import annotations

import json
import sys

from tuneonce.replica import Replica, open_replica
from tuneonce.replica.base import Offer

# Nobody waits for ever for one that has failed. A try takes a second where nothing happens.
_TRIES = 60


def make_all(replica: Replica, shelf: str, me: str, names: list[str]) -> list[str]:
    """Make the records that nobody has made and nobody else is making, until all are there.

    Each is pushed while it is claimed, as any machine of a fleet does it.
    """
    made: list[str] = []
    missing, cursor = set(names), ""
    for _ in range(_TRIES):
        if not missing:
            break
        for name in sorted(missing):
            ours, data = replica.claim(shelf, name, me, 600)
            if data is not None:
                missing.discard(name)
            elif ours:
                assert replica.renew(shelf, name, me, 600)
                assert replica.push(shelf, [Offer(name, me.encode())]) == [None]
                replica.give_up(shelf, name, me)
                made.append(name)
                missing.discard(name)
        if missing and replica.await_news(shelf, cursor, 1):
            cursor = replica.pull(shelf, cursor).cursor
    assert not missing, "whoever has claimed these has failed"
    return made


def main() -> None:
    address, shelf, me, rounds = sys.argv[1:]
    names = [f"v1/kernel~1/{shelf}/0a1b/c02.{n}.verdict.json" for n in range(int(rounds))]
    with open_replica(address) as replica:
        print("ready", flush=True)
        sys.stdin.readline()
        made = make_all(replica, shelf, me, names)
    print(json.dumps(made))


if __name__ == "__main__":
    main()
