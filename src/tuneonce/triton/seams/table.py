"""All seams, in the order of the files that hold them."""

from __future__ import annotations

from . import (
    asked_for,
    autotuners,
    backends,
    benchmarks,
    caches,
    compiled,
    compiler_knobs,
    compilers,
    digests,
    drivers,
    errors,
    generators,
    helpers,
    installed,
    kernels,
    knobs,
    languages,
    listeners,
    lookups,
    parsing,
    post_hooks,
    result_files,
    run_hooks,
    sources,
    wrappers,
)
from .seam import Feature, Seam

BY_FILE: dict[str, tuple[Seam, ...]] = {
    module.__name__.rpartition(".")[2]: module.SEAMS
    for module in (
        autotuners,
        post_hooks,
        benchmarks,
        result_files,
        wrappers,
        kernels,
        parsing,
        run_hooks,
        digests,
        languages,
        compilers,
        compiled,
        sources,
        backends,
        generators,
        installed,
        caches,
        lookups,
        asked_for,
        errors,
        helpers,
        knobs,
        compiler_knobs,
        listeners,
        drivers,
    )
}

SEAMS: tuple[Seam, ...] = tuple(seam for seams in BY_FILE.values() for seam in seams)


def needed_by(feature: Feature) -> list[Seam]:
    """The seams without any of which a feature is switched off."""
    return [seam for seam in SEAMS if feature in seam.needed_by]
