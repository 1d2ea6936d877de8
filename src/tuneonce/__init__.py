"""Tune Triton kernels once: a restart finds what was tuned, as do all that share the store.

``tuneonce.install()`` switches it on in a program; ``tuneonce run -- command`` and ``TUNEONCE=1``
do so from outside. Importing this package imports neither torch nor Triton and touches no device,
directory, network or environment variable.
"""

from __future__ import annotations

from ._version import __version__
from .activation.install import install, is_installed, ready, uninstall, warm

__all__ = ["__version__", "install", "is_installed", "ready", "uninstall", "warm"]
