"""A GPU for tests of Triton kernels where there is none.

`SimulatedGPU` lets real autotuned kernels compile, tune and launch on a machine without a GPU:
true compiler, true disk cache, true tuning, made-up but reproducible times, and no computation.
It is for tests of what surrounds a kernel: does it compile for this architecture, does a cache
hit, how often is it tuned, which launches follow each other. For results use TRITON_INTERPRET=1
or a GPU.

Importing this package imports neither torch nor triton; installing a `SimulatedGPU` does.
"""

from .driver import Benchmarked
from .gpu import SimulatedGPU
from .latency import LatencyModel, Launch

__all__ = ["Benchmarked", "LatencyModel", "Launch", "SimulatedGPU"]
