"""Code on trial: nobody knows yet whether a kernel is generated here as it is in the parent.

Children compile it, and write into Triton's cache when it turns out so. Loaded by the compile
helper by path; imports nothing of ours, and triton where it is loaded already.
"""

from __future__ import annotations

import mmap
import time

# A check takes as long as generating code twice: fractions of a second. Arbitrary, beyond that.
_CHECKED_S = 20.0
_OPEN, _ALIKE, _OTHER = range(3)
_KERNELS = 1 << 16


class NotAlike(Exception):
    """What was compiled on trial is not kept; the job can be done with its parent's code."""


class Verdicts:
    """Whether the code that is generated here is the parent's, by kernel; children see it, too."""

    def __init__(self):
        self.places = {}
        self.shared = mmap.mmap(-1, _KERNELS)

    def place(self, kernel):
        """Where this kernel's verdict stands; None of what is on no trial, or cannot be."""
        if kernel is None or (kernel not in self.places and len(self.places) == _KERNELS):
            return None
        return self.places.setdefault(kernel, len(self.places))

    def pass_on(self, place, alike):
        if place is not None:
            self.shared[place] = _ALIKE if alike else _OTHER

    def alike(self, place):
        """Known to be; False, too, while nobody knows."""
        return place is not None and self.shared[place] == _ALIKE

    def wait(self, place):
        """Until the code is found to be the parent's. Raises NotAlike if it is not.

        One that nobody checks is not waited for twice.
        """
        end = time.monotonic() + _CHECKED_S
        while place is not None and self.shared[place] == _OPEN:
            if time.monotonic() >= end:
                self.pass_on(place, alike=False)
            else:
                time.sleep(0.002)
        if not self.alike(place):
            raise NotAlike


def hold(compiler, approve):
    """From now on what is compiled is written when all of it is there, and approved."""
    from triton.runtime.cache import FileCacheManager

    get_cache_manager = compiler.get_cache_manager

    def holding(key):
        manager = get_cache_manager(key)
        if type(manager) is not FileCacheManager:
            approve()
            return manager
        kept = []
        put, put_group = manager.put, manager.put_group

        def keep(data, filename, binary=True):
            # As text now: the compiler's next stage changes it in its place.
            kept.append((data if isinstance(data, bytes) else str(data), filename, binary))
            return manager._make_path(filename)

        def write(filename, group):
            approve()
            manager.put = put
            for file in kept:
                put(*file)
            return put_group(filename, group)

        manager.put, manager.put_group = keep, write
        return manager

    compiler.get_cache_manager = holding
