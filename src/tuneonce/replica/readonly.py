"""A replica that may be read and not written: a fleet's golden copy."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..errors import StoreReadOnly
from .base import (
    Claimed,
    Offer,
    Page,
    Replica,
    ReplicaInfo,
    Taken,
    check_claim,
    check_offers,
    check_shelf,
)


class ReadOnlyReplica(Replica):
    """``inner``, less everything that changes it."""

    def __init__(self, inner: Replica) -> None:
        super().__init__(inner.traffic)
        self._inner = inner

    def shelves(self) -> list[str]:
        return self._inner.shelves()

    def pull(self, shelf: str, since: str = "") -> Page:
        return self._inner.pull(shelf, since)

    def holds(self, shelf: str, names: Sequence[str]) -> dict[str, str]:
        return self._inner.holds(shelf, names)

    def push(self, shelf: str, offers: Sequence[Offer]) -> list[Taken | None]:
        check_shelf(shelf)
        check_offers(offers)
        raise self._refusal("nothing is pushed there")

    def claim(self, shelf: str, name: str, owner: str, seconds: float) -> Claimed:
        check_claim(shelf, name, owner, seconds)
        raise self._refusal("nothing is claimed there")

    def renew(self, shelf: str, name: str, owner: str, seconds: float) -> bool:
        check_claim(shelf, name, owner, seconds)
        raise self._refusal("nothing is claimed there")

    def give_up(self, shelf: str, name: str, owner: str) -> None:
        check_claim(shelf, name, owner)
        raise self._refusal("nothing is claimed there")

    def await_news(self, shelf: str, since: str, seconds: float) -> bool:
        return self._inner.await_news(shelf, since, seconds)

    def try_writing(self) -> bool:
        raise self._refusal("nothing is pushed there")

    def _refusal(self, what: str) -> StoreReadOnly:
        url = self.describe().url
        return StoreReadOnly(
            f"{url} was opened read-only, so {what}. Drop readonly=1 from TUNEONCE_REMOTE if "
            "results of this machine should be shared",
            store=url,
        )

    def describe(self) -> ReplicaInfo:
        info = self._inner.describe()
        mark = "&" if "?" in info.url else "?"
        return dataclasses.replace(info, url=f"{info.url}{mark}readonly=1")

    def close(self) -> None:
        self._inner.close()
