"""What the environment says about keys that nobody has measured: what a miss does, and when.

============================  ===================================================================
``TUNEONCE_ON_MISS_STARTING`` what a key without a verdict does before ``ready()``: ``tune``,
                              ``borrow``, ``explore`` or ``error``; default ``tune``
``TUNEONCE_ON_MISS_SERVING``  the same for after it; default ``explore``
``TUNEONCE_EXPLORE_SHARE``    the most launches of a key that explore, as a share between 0 and 1;
                              default 0.5
``TUNEONCE_WORK_CLASSES``     ``0``: launches of all sizes of one key have one winner; default
                              ``1``. Where ``TUNEONCE_DETERMINISTIC`` is set, the largest's
``TUNEONCE_NUMERICS``         ``check``: what candidates write is looked at while they race, and one
                              that is far from the rest is not used; ``bits``: and the winner has
                              the bits of the first candidate; default ``off``
``TUNEONCE_LOOK_SHARE``       the part of a tuning's time that looking at outputs may take, as a
                              share between 0 and 1; default 0.1; ``1``: as long as it takes
``TUNEONCE_DETERMINISTIC``    ``1``: stored verdicts or the first candidate, and nothing else:
                              what a miss does and ``TUNEONCE_RECHECK`` mean nothing then
============================  ===================================================================
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import SettingsError
from .phase import Phase

_FALSE = frozenset({"", "0", "false", "no", "off", "n"})
_TRUE = frozenset({"1", "true", "yes", "on", "y"})


ON_MISS = {
    "starting": "TUNEONCE_ON_MISS_STARTING",
    "serving": "TUNEONCE_ON_MISS_SERVING",
}
"""The variable that says what a miss does, by phase."""


class OnMiss(enum.Enum):
    """What a launch does whose key has no verdict."""

    TUNE = "tune"
    """It waits until the candidates have raced."""
    BORROW = "borrow"
    """It runs the winner of the nearest key, or the first candidate; the key is measured later."""
    EXPLORE = "explore"
    """It runs a candidate that has not been tried, and is timed without being waited for."""
    ERROR = "error"
    """It raises."""


class Numerics(enum.Enum):
    """What is made of the outputs of candidates that race."""

    OFF = "off"
    """Nothing: they are not looked at."""
    CHECK = "check"
    """A candidate that is far from the rest is not used."""
    BITS = "bits"
    """The winner is of the first candidate's class of equal bits, as far as that was seen."""


@dataclass(frozen=True)
class Policies:
    """The policies of one process."""

    starting: OnMiss = OnMiss.TUNE
    serving: OnMiss = OnMiss.EXPLORE
    deterministic: bool = False
    explore_share: float = 0.5
    """The most launches of a key that run another candidate than the one that serves."""
    work_classes: bool = True
    """Whether launches of different sizes of one key may have different winners."""
    numerics: Numerics = Numerics.OFF
    look_share: float = 0.1
    """The part of the time since a tuning began that looking at outputs may take."""

    def on_miss(self, phase: Phase) -> OnMiss:
        """What a miss does in this phase."""
        return self.serving if phase is Phase.SERVING else self.starting


def read_policies(environ: Mapping[str, str]) -> Policies:
    """The policies that `environ` asks for. Raises `SettingsError` for a word it does not know."""
    usual = Policies()
    return Policies(
        _on_miss(environ, ON_MISS["starting"], usual.starting),
        _on_miss(environ, ON_MISS["serving"], usual.serving),
        _switch(environ, "TUNEONCE_DETERMINISTIC"),
        _share(environ, "TUNEONCE_EXPLORE_SHARE", usual.explore_share),
        _switch(environ, "TUNEONCE_WORK_CLASSES", usual.work_classes),
        _numerics(environ, usual.numerics),
        _share(environ, "TUNEONCE_LOOK_SHARE", usual.look_share),
    )


def policy_complaints(environ: Mapping[str, str]) -> list[str]:
    """Sentences about settings that a policy leaves without effect."""
    word = environ.get("TUNEONCE_RECHECK", "").strip().lower()
    try:
        policies = read_policies(environ)
    except SettingsError:  # which is told by itself
        return []
    numerics, found = environ.get("TUNEONCE_NUMERICS", "").strip().lower(), []
    if word not in _FALSE and policies.numerics is Numerics.BITS:
        found.append(
            f"TUNEONCE_RECHECK={word} is left out: it knows no bits (TUNEONCE_NUMERICS=bits)"
        )
    if word not in _FALSE and policies.deterministic:
        found.append(
            f"TUNEONCE_RECHECK={word} is left out: TUNEONCE_DETERMINISTIC measures nothing"
        )
    if numerics not in _FALSE and policies.deterministic:
        found.append(
            f"TUNEONCE_NUMERICS={numerics} is left out: TUNEONCE_DETERMINISTIC looks at nothing"
        )
    return found


def _on_miss(environ: Mapping[str, str], name: str, usual: OnMiss) -> OnMiss:
    word = environ.get(name, "").strip().lower()
    try:
        return OnMiss(word) if word else usual
    except ValueError:
        known = ", ".join(policy.value for policy in OnMiss)
        raise SettingsError(f"{name}={word!r} is not known: use {known}") from None


def _numerics(environ: Mapping[str, str], usual: Numerics) -> Numerics:
    word = environ.get("TUNEONCE_NUMERICS", "").strip().lower()
    if not word:
        return usual
    try:
        return Numerics.OFF if word in _FALSE else Numerics(word)
    except ValueError:
        known = ", ".join(numerics.value for numerics in Numerics)
        raise SettingsError(f"TUNEONCE_NUMERICS={word!r} is not known: use {known}") from None


def _share(environ: Mapping[str, str], name: str, usual: float) -> float:
    word = environ.get(name, "").strip()
    try:
        share = float(word) if word else usual
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:  # also what is not a number
        raise SettingsError(f"{name}={word!r} is no share: use a number above 0, up to 1")
    return share


def _switch(environ: Mapping[str, str], name: str, usual: bool = False) -> bool:
    word = environ.get(name, "").strip().lower() or str(int(usual))
    if word not in _TRUE | _FALSE:
        raise SettingsError(f"{name}={word!r} is not known: use 1 or 0")
    return word in _TRUE
