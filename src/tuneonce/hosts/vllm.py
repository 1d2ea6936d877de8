"""vLLM loads this in every process through its entry point group ``vllm.general_plugins``.

Installing the package is all: on by default, off with ``TUNEONCE=0`` or
``TRITON_CACHE_AUTOTUNING=0``. vLLM may call it more than once, and after kernels were imported.
"""

from __future__ import annotations


def register() -> None:
    """Switch tuneonce on in this process."""
    from ..activation import install

    install()
