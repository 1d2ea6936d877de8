"""From a launch to the question that a store can answer."""

from __future__ import annotations

from typing import Any

from ...model.codec import digest
from ...model.key import BITS, KernelId, Key
from ...model.key import work_class as class_of
from ...resolution.resolver import Question
from ..kernel import device_facts
from ..kernel.candidates import candidates_of
from ..kernel.identity import NoIdentity, kernel_id
from ..kernel.session import Session
from ..kernel.tuning_key import tuning_key
from ..seams import probing
from ..seams.seam import Feature

# A part of the tuning key. No argument of a kernel has such a name.
_OWN_BENCHMARK = ("do_bench()", ["str", "own"])


def identify(autotuner: Any) -> KernelId | NoIdentity:
    """The kernel of an autotuner, or why it has no identity."""
    if lacking := probing.missing(Feature.RESULTS):
        return NoIdentity("seam_missing", ", ".join(lacking))
    try:
        return kernel_id(autotuner.fn)
    except NoIdentity as error:
        return error
    except Exception as error:  # a kernel whose globals or source do strange things when looked at
        return NoIdentity("identity_failed", repr(error))


def question_of(session: Session) -> Question:
    """What to ask the store.

    Raises `NoIdentity` and `Unencodable` for a key that no store can keep.
    """
    autotuner, nargs, kwargs = session.autotuner, session.nargs, session.kwargs
    if session.state.identity is None:
        session.state.identity = identify(autotuner)
    identity = session.state.identity
    if isinstance(identity, NoIdentity):
        raise identity
    arguments = {k: v for k, v in {**nargs, **kwargs}.items() if k in autotuner.arg_names}
    tuning = tuning_key(autotuner.arg_names, autotuner.keys, arguments)
    if session.own_benchmark:  # it may find another order, so neither answers for the other
        tuning = (*tuning, _OWN_BENCHMARK)
    candidates = candidates_of(session.candidates)
    if session.constant:  # its winner depends on which candidates come first
        order = digest([candidate.digest for candidate in candidates], length=8)
        tuning = (*tuning, (BITS, ["str", order]))
    world = device_facts.current_world(interpreted=session.interpreted)
    return Question(
        key=Key(identity, tuning, world.parts, world.name),
        work_class=class_of(*session.work),
        programs=session.work.programs,
        candidates=candidates,
        about=world.about,
    )
