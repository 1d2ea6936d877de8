"""The link of one process to what machines share, and what it tells."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..addresses import MEMORY, scheme_of, without_password
from ..events.log import EventLog
from ..replica.wishes import Said
from ..settings import Settings
from ..system.claims import Claims

if TYPE_CHECKING:
    from ..replica.link import Link

logger = logging.getLogger("tuneonce")


def build_link(
    settings: Settings, environ: Mapping[str, str], claims: Claims | None, events: EventLog
) -> Link | None:
    """The link that the settings ask for; None where there is to be none.

    Deterministic starts have none: what a start knows would depend on how fast its remote is.
    """
    if settings.remote is None or settings.policies.deterministic:
        return None
    from ..replica.link import Link

    shown = without_password(settings.remote.partition("?")[0])
    if scheme_of(settings.store) == MEMORY:
        logger.warning("tuneonce: %s is not used: the store keeps nothing on disk", shown)
        return None

    def tell(word: Said) -> None:
        if word.what in ("pulled", "pushed") and not word.name and word.records:
            events.emit("remote", what=word.what, records=word.records)
            logger.info("tuneonce: %s: %s %d records", shown, word.what, word.records)
        elif word.what == "note":
            events.emit("problem", what="remote", detail=f"{shown}: {word.message}")
            logger.warning("tuneonce: %s: %s", shown, word.message)
        elif word.what == "failed":
            events.emit("problem", what="remote_failed", detail=f"{shown}: {word.message}")
            logger.warning(
                "tuneonce: %s: %s; going on without it, with what is in the store",
                shown,
                word.message,
            )

    return Link(settings.store, settings.remote, claims=claims, tell=tell, environ=environ)
