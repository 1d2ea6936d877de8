"""One process of one package's workload: import it, make its calls twice, tell what happened.

    python tests/kernels/third_party/child.py mamba_ssm                # on the simulated GPU
    TUNEONCE=1 python tests/kernels/third_party/child.py mamba_ssm     # with tuneonce
    python tests/kernels/third_party/child.py --gpu mamba_ssm          # on a GPU

It watches Triton itself, not tuneonce's events, so stock Triton and tuneonce are seen alike. The
first round of calls is what a program does at its start, the second what it does when it is tuned.
Prints one JSON document.

A workload is a module beside this file, ``<name>_calls.py``, with the names of its distribution
(`PACKAGE`) and its import (`MODULE`), `ENVIRONMENT` to be set before it is imported, `AT_MOST` how
many candidates of each list are kept (None: all), `LIMITS` in words, and
``calls(device) -> {name: function}``, which imports the package and makes the inputs. `SHORT` may
name those that ``--short`` makes.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import hashlib
import importlib
import importlib.metadata
import json
import os
import pkgutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

SCHEMA = "tuneonce.third-party-run/1"


class Watch:
    """What Triton does in this process, by kernel (``module:qualified name``)."""

    def __init__(self) -> None:
        self.kernels: dict[str, dict[str, Any]] = {}
        self.compiles = 0
        self.compile_s = 0.0
        self.disk_loads = 0
        self.writes: Counter[str] = Counter()
        self._seen: list[Any] = []

    def of(self, tuner: Any) -> dict[str, Any]:
        """What is known of an autotuner; a second one over one kernel is another entry."""
        if not any(tuner is other for other in self._seen):
            self._seen.append(tuner)
        same = [other for other in self._seen if kernel_name(other) == kernel_name(tuner)]
        place = next(i for i, other in enumerate(same) if other is tuner)
        name = f"{kernel_name(tuner)} ({place + 1})" if place else kernel_name(tuner)
        fresh = {"tuner": tuner_name(tuner), "keys": {}, "measured": {}}
        return self.kernels.setdefault(name, fresh)

    def start(self) -> None:
        """Watch from now on, beside whoever else listens."""
        import torch
        from triton import knobs
        from triton.runtime.autotuner import Autotuner

        bench, prune = Autotuner._bench, Autotuner.prune_configs
        listener = knobs.compilation.listener

        def watched_prune(tuner: Any, kwargs: dict[str, Any]) -> Any:
            # Called once for each key that this process meets, whoever answers for it then.
            pruned = list(prune(tuner, kwargs))
            self.of(tuner)["keys"][tuning_key(tuner, {**tuner.nargs, **kwargs})] = len(pruned)
            return pruned

        def watched_bench(tuner: Any, *args: Any, config: Any, **meta: Any) -> Any:
            measured = self.of(tuner)["measured"]
            key = tuning_key(tuner, {**tuner.nargs, **meta})
            measured[key] = measured.get(key, 0) + 1
            return bench(tuner, *args, config=config, **meta)

        def watched_compile(**call: Any) -> None:
            if listener is not None:
                listener(**call)
            if call["cache_hit"]:
                self.disk_loads += 1
            else:
                self.compiles += 1
                self.compile_s += call["times"].total / 1e6

        Autotuner.prune_configs, Autotuner._bench = watched_prune, watched_bench
        knobs.compilation.listener = watched_compile
        # What hooks, reset_to_zero and restore_value do to a caller's buffers.
        for name in ("zero_", "copy_", "clone"):
            setattr(torch.Tensor, name, self._counting(name, getattr(torch.Tensor, name)))

    def _counting(self, name: str, stock: Any) -> Any:
        @functools.wraps(stock)
        def method(tensor: Any, *args: Any, **kwargs: Any) -> Any:
            self.writes[name] += 1
            return stock(tensor, *args, **kwargs)

        return method


def kernel_name(tuner: Any) -> str:
    return f"{tuner.base_fn.__module__}:{tuner.base_fn.__qualname__}"


def tuner_name(tuner: Any) -> str:
    return f"{type(tuner).__module__}.{type(tuner).__qualname__}"


def tuning_key(tuner: Any, named: dict[str, Any]) -> str:
    """The key as stock `Autotuner.run` makes it."""
    known = {name: value for name, value in named.items() if name in tuner.arg_names}
    key = [known[name] for name in tuner.keys if name in known]
    key += [str(value.dtype) for value in known.values() if hasattr(value, "dtype")]
    return str(tuple(key))


def tuners(module: str) -> list[Any]:
    """Every live autotuner whose kernel is defined in `module` or below it."""
    from triton.runtime.autotuner import Autotuner

    found = [o for o in gc.get_objects() if issubclass(type(o), Autotuner)]
    return [t for t in found if (t.base_fn.__module__ or "").split(".")[0] == module]


def import_all(module: str) -> int:
    """Import all that can be imported of a package; returns how many of its modules cannot."""
    failed = 0
    inside = pkgutil.walk_packages(
        sys.modules[module].__path__, f"{module}.", onerror=lambda name: None
    )
    for info in inside:
        try:
            importlib.import_module(info.name)
        except BaseException:  # what it needs is not there, or it is a program
            failed += 1
    gc.collect()  # what was decorated in a module that failed is gone again
    return failed


def without_identity(found: list[Any]) -> dict[str, str]:
    """The kernels that tuneonce cannot tell from others, and why."""
    from tuneonce.triton.kernel.identity import NoIdentity, kernel_id

    answer = {}
    for tuner in found:
        try:
            kernel_id(tuner.fn)
        except NoIdentity as error:
            answer[kernel_name(tuner)] = f"{error.reason}: {error}"
    return answer


def winners(found: list[Any]) -> dict[str, dict[str, str]]:
    """The winner of every key, where the autotuner keeps them as stock does."""
    answer: dict[str, dict[str, str]] = {}
    for tuner in found:
        if isinstance(tuner.cache, dict) and tuner.cache:
            keys = answer.setdefault(f"{kernel_name(tuner)} of {len(tuner.configs)}", {})
            keys.update({str(key): str(config) for key, config in tuner.cache.items()})
    return dict(sorted(answer.items()))


@contextlib.contextmanager
def cuda_on_cpu() -> Iterator[None]:
    """Tensors that ask for a GPU are made on the CPU, where the simulated GPU takes them from.

    Memory that nobody has written holds ones: a size that a kernel would have computed is 1.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    def moved(value: Any) -> Any:
        asks = isinstance(value, (str, torch.device)) and str(value).startswith("cuda")
        return "cpu" if asks else value

    class Mode(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
        ) -> Any:
            if func is torch.Tensor.is_cuda.__get__:
                return True
            if func is torch.Tensor.cuda:
                return args[0]
            kwargs = {name: moved(value) for name, value in (kwargs or {}).items()}
            if func is torch.Tensor.to:
                args = tuple(map(moved, args))
            made = func(*args, **kwargs)
            return made.fill_(1) if func in (torch.empty, torch.empty_like) else made

    with Mode():
        yield


def digest(gpu: Any) -> dict[str, Any]:
    """The launches that `gpu` has seen since it last forgot: how many, and which in one hash."""
    lines = [f"{launch.module}:{launch.candidate} {launch.grid}\n" for launch in gpu.launches]
    return {"count": len(lines), "sha256": hashlib.sha256("".join(lines).encode()).hexdigest()}


def run(
    workload: Any, *, gpu: Any | None, at_most: int | None, everything: bool, short: bool = False
) -> dict[str, Any]:
    """`gpu` is the simulated one, None on a real one; `everything`: look at the whole package.

    `short`: make the calls that the workload names for it.
    """
    watch = Watch()
    watch.start()
    import torch

    device = "cuda" if gpu is None else "cpu"
    began = time.perf_counter()
    calls: dict[str, Callable[[], object]] = workload.calls(device)
    if short:
        calls = {name: calls[name] for name in getattr(workload, "SHORT", calls)}
    import_s = time.perf_counter() - began
    found = tuners(workload.MODULE)
    if at_most is not None:
        for tuner in found:
            tuner.configs = tuner.configs[:at_most]
    timed: dict[str, list[float]] = {}
    rounds: dict[str, Any] = {}
    for round_name in ("first", "again"):
        watch.writes.clear()
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            torch.cuda.synchronize()
            timed.setdefault(name, []).append(round(time.perf_counter() - began, 4))
        rounds[round_name] = {"writes": dict(sorted(watch.writes.items()))}
        if gpu is not None:
            rounds[round_name]["launches"] = digest(gpu)
            gpu.forget()
    measured = [sum(kernel["measured"].values()) for kernel in watch.kernels.values()]
    whole: dict[str, Any] = {}
    if everything:
        failed = import_all(workload.MODULE)
        all_found = tuners(workload.MODULE)
        whole = {
            "modules_failed": failed,
            "autotuners": len(all_found),
            "without_identity": without_identity(all_found),
        }
    return {
        "schema": SCHEMA,
        "package": workload.PACKAGE,
        "version": importlib.metadata.version(workload.PACKAGE),
        "triton": importlib.metadata.version("triton"),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name(),
        "at_most": at_most,
        "import_s": round(import_s, 3),
        "calls": timed,
        "calls_s": round(sum(seconds[0] for seconds in timed.values()), 3),
        "autotuners": dict(Counter(map(tuner_name, found))),
        "kernels": dict(sorted(watch.kernels.items())),
        "candidates_measured": sum(measured),
        "compiles": watch.compiles,
        "compile_s": round(watch.compile_s, 3),
        "disk_loads": watch.disk_loads,
        "winners": winners(found),
        "rounds": rounds,
        "everything": whole,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("workload", help="name of a module beside this file, less _calls")
    parser.add_argument("--gpu", action="store_true", help="use the machine's GPU")
    parser.add_argument("--seed", type=int, default=0, help="of the simulated GPU's times")
    parser.add_argument("--everything", action="store_true", help="import the whole package, too")
    parser.add_argument("--at-most", type=int, help="candidates to keep of each list")
    parser.add_argument("--short", action="store_true", help="make few of the calls, if so named")
    args = parser.parse_args()
    workload = importlib.import_module(f"{args.workload}_calls")
    os.environ.update(workload.ENVIRONMENT)
    # Packages print; standard output is for the document.
    with contextlib.redirect_stdout(sys.stderr), contextlib.ExitStack() as stack:
        if os.environ.get("TUNEONCE") == "1":
            import tuneonce

            tuneonce.install()
        gpu = None
        if not args.gpu:
            from tuneonce.testing import SimulatedGPU

            # Not taken away again: the process ends, and a package may hold what it replaced.
            gpu = SimulatedGPU(seed=args.seed, history=1_000_000).install()
            stack.enter_context(cuda_on_cpu())
        at_most = args.at_most or workload.AT_MOST
        document = run(
            workload, gpu=gpu, at_most=at_most, everything=args.everything, short=args.short
        )
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
