"""Imported by ``tuneonce.pth`` at the start of a Python process in which TUNEONCE is set.

Whatever goes wrong here must not keep the interpreter from starting.
"""

from __future__ import annotations

try:
    from .activation.install import install

    install()
except Exception as error:
    import sys

    print(f"tuneonce: not activated: {error!r}", file=sys.stderr)
