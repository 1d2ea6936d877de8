"""The looks of one session, if the program asks for them, and who may win by what they say.

Looking is part of a candidate's first launch, before any launch is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from ...model.records import Sighting
from ...policies import Numerics
from ...tuning.numerics import Conclusion, conclude, refuted
from ..kernel.collectives import talks_to_others
from ..kernel.session import Session
from ..seams import post_hooks, probing
from ..seams.seam import Feature
from .outputs.looks import Looks
from .outputs.spans import Unobservable


@dataclass(frozen=True)
class Looked:
    """What came of it. `conclusion` is about positions, `size` in bytes that candidates write to.

    `ran`: the candidates that could be looked at. `constant`: those of them that may win where bits
    are to be constant. `left_out`: why nothing was looked at, or nothing more from some candidate
    on.
    """

    conclusion: Conclusion[int]
    ran: tuple[int, ...]
    constant: frozenset[int]
    size: int
    left_out: str | None


class Looking:
    """The looks of one session; with `Numerics.OFF` all launches are just made.

    `on_error` hears of errors of ours, which end the looking and nothing else.
    """

    def __init__(
        self,
        session: Session,
        *,
        synchronize: Callable[[], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._session, self._numerics = session, session.numerics
        self._looks: Looks | None = None
        self._why: str | None = None
        if self._numerics is Numerics.OFF:
            return
        self._why = self._why_not()
        if self._why is not None:
            return
        values = [value for name, value in session.kwargs.items() if name != "grid"]
        try:
            self._looks = Looks(
                [*session.args, *values],
                share=session.look_share,
                synchronize=synchronize,
                on_error=on_error,
            )
        except Unobservable as error:
            self._why = error.reason
        except Exception as error:  # of a tensor's own code
            self._why = "error"
            on_error(error)

    @property
    def is_on(self) -> bool:
        """Whether there is anything to look at, as far as that is known."""
        return self._looks is not None and self._looks.left_out is None

    @property
    def seconds(self) -> float:
        """What looking has taken so far."""
        return 0.0 if self._looks is None else self._looks.seconds

    def first(self, position: int, call: Callable[[], Any]) -> None:
        """The first launch of a candidate: it is made, and looked at."""
        looks, autotuner = self._looks, self._session.autotuner
        if looks is None:
            call()
            return

        def launch(look: Callable[[], None]) -> None:
            with post_hooks.before(autotuner, look):
                call()

        looks.of(position, launch)

    def admitted(self, positions: Sequence[int]) -> Collection[int]:
        """Which of these, that ran, may win; they are in the author's order."""
        if self._numerics is Numerics.OFF or not positions:
            return positions
        found, first = self._concluded(positions), positions[0]
        if self._numerics is Numerics.CHECK:
            wrong = found.wrong | self._wrong_elsewhere(first)
            return [one for one in positions if one not in wrong]
        return self._constant(found, positions)

    def weighed(self, positions: Sequence[int]) -> Collection[int]:
        """Which of these that may not win are timed beside the winner: for their bits alone."""
        if self._numerics is not Numerics.BITS:
            return ()
        wrong = self._concluded(positions).wrong
        return [one for one in positions if one not in wrong]

    def looked(self, positions: Sequence[int]) -> Looked | None:
        """What came of it, over the candidates that ran; None where nobody asked."""
        if self._numerics is Numerics.OFF:
            return None
        looks = self._looks
        size, left_out = (0, self._why) if looks is None else (looks.size, looks.left_out)
        found, ran = self._concluded(positions), tuple(positions)
        return Looked(found, ran, self._constant(found, ran), size, left_out)

    def close(self) -> None:
        """Give back the memory."""
        if self._looks is not None:
            self._looks.release()

    def _concluded(self, positions: Sequence[int]) -> Conclusion[int]:
        return conclude(positions, {} if self._looks is None else self._looks.panel.seen)

    def _constant(self, found: Conclusion[int], ran: Sequence[int]) -> frozenset[int]:
        """Those that have the first candidate's bits, of those that ran, in the author's order."""
        first = ran[:1]
        # What was not looked at has no class but its own.
        if any(one not in found.classes and one not in found.unsteady for one in first):
            return frozenset(first)
        if not found.classes:  # none equals itself, and all are as good
            return found.constant
        return found.constant - self._unequal_elsewhere(min(found.constant))

    def _wrong_elsewhere(self, first: int) -> frozenset[int]:
        """Those that were far from the rest at another size; never the author's first."""
        wrong = {one for sighting in self._sightings() for one in sighting.wrong}
        return self._positions(wrong) - {first}

    def _unequal_elsewhere(self, first: int) -> frozenset[int]:
        """Those whose bits were not those of `first` at another size, or for another process."""
        seen = [(sighting.classes, sighting.programs) for sighting in self._sightings()]
        if not seen:
            return frozenset()
        assert self._session.question is not None
        return self._positions(refuted(self._session.question.digests[first], seen)) - {first}

    def _sightings(self) -> Sequence[Sighting]:
        known = self._session.resolution
        return () if known is None else known.sightings

    def _positions(self, digests: Collection[str]) -> frozenset[int]:
        question = self._session.question
        listed = () if question is None else question.digests
        return frozenset(i for i, digest in enumerate(listed) if digest in digests)

    def _why_not(self) -> str | None:
        """Why nothing is launched once more to be looked at."""
        if self._session.together or talks_to_others(self._session.autotuner):
            return "ranks"
        return "seam_missing" if probing.missing(Feature.NUMERICS) else None
