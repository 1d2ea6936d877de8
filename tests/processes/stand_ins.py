"""Small packages with the shape of vLLM 0.26 and SGLang 0.5.23, as far as a plugin meets it.

Written from their sources, in words of our own: who loads plugins and when, who replaces
``Autotuner.run``, how workers are started, how the end of the warm-up is called, how lines are
logged. `install` writes them into a directory, with the metadata by which our entry points are
found.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from tests.fakes import ROOT

LOADER = """
import logging, os
from importlib.metadata import entry_points

logger = logging.getLogger(__name__)
plugins_loaded = False

def load(group, allowed):
    functions = []
    for plugin in entry_points(group=group):
        # Packages that happen to be installed have plugins too, which are not tested here.
        if plugin.name not in ("tuneonce", "other"):
            continue
        if allowed is None or plugin.name in allowed:
            try:
                functions.append(plugin.load())
            except Exception:
                logger.exception("Failed to load plugin %s", plugin.name)
    return functions
"""

KERNELS = """
import triton, triton.language as tl

def bench(call, quantiles):
    call()
    return [1.0, 1.0, 1.0]

# The benchmark is the driver's, as on a GPU: one of the kernel's own might wait for other workers.
class Driver:
    def get_benchmarker(self):
        return bench

triton.runtime.driver.set_active(Driver())

@triton.autotune([triton.Config({"B": b}) for b in (16, 32, 64)], key=["n"])
@triton.jit
def kernel(n, B: tl.constexpr):
    tl.program_id(0) * B + n

def launch(n=1):
    kernel[(1,)](n)
    return str(kernel.best_config)
"""

PROCESS_TITLE = '''
import ctypes, os
from pathlib import Path

def setproctitle(title):
    """What is left of /proc/self/environ afterwards is no environment."""
    for name, value in os.environ.items():
        os.environ[name] = value  # the C library's copy then lies elsewhere
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[47]), int(fields[48])
    ctypes.memset(start, 0, end - start)
    assert not Path("/proc/self/environ").read_bytes().strip(b"\\0")
'''

VLLM = {
    "__init__.py": "from . import env_override\nfrom . import logger\n",
    # As the last thing of `import vllm`.
    "env_override.py": """
        import os
        os.environ.setdefault("TRITON_CACHE_AUTOTUNING", "1")
        import triton.runtime.autotuner
        if os.environ.get("VLLM_TRITON_FORCE_FIRST_CONFIG") == "1":
            from vllm.triton_utils import force_first_config
            force_first_config.install()
        """,
    "triton_utils/__init__.py": "",
    "triton_utils/force_first_config.py": """
        def install():
            from triton.runtime.autotuner import Autotuner

            def _run_first_valid_config(self, *args, **kwargs):
                config = self.configs[0]
                self.best_config = config
                return self.fn.run(*args, **kwargs, **config.all_kwargs())

            Autotuner.run = _run_first_valid_config
        """,
    "logger.py": """
        import logging, logging.config, os

        class Formatter(logging.Formatter):
            def format(self, record):
                record.fileinfo = record.filename
                return super().format(record)

        if os.environ.get("VLLM_CONFIGURE_LOGGING", "1") == "1":
            logging.config.dictConfig({
                "version": 1,
                "disable_existing_loggers": False,
                "formatters": {"vllm": {
                    "()": Formatter,
                    "datefmt": "%m-%d %H:%M:%S",
                    "format": "%(levelname)s %(asctime)s [%(fileinfo)s:%(lineno)d] %(message)s",
                }},
                "handlers": {"vllm": {
                    "class": "logging.StreamHandler",
                    "formatter": "vllm",
                    "level": "INFO",
                    "stream": "ext://sys.stdout",
                }},
                "loggers": {"vllm": {"handlers": ["vllm"], "level": "INFO", "propagate": False}},
            })
        """,
    "plugins/__init__.py": LOADER
    + textwrap.dedent("""
        def load_general_plugins():
            global plugins_loaded
            if plugins_loaded:
                return
            plugins_loaded = True
            names = os.environ.get("VLLM_PLUGINS")
            names = None if names is None else names.split(",")
            for function in load("vllm.general_plugins", names):
                function()  # not guarded: what a plugin raises ends the process
        """),
    "utils/__init__.py": PROCESS_TITLE,
    "utils/jit_monitor.py": """
        from triton import knobs

        active, heard = False, []

        def activate(*, mode="warn", verbose=False):
            global active
            if active:
                return
            active = True
            before = knobs.runtime.jit_post_compile_hook

            def hook(**kwargs):
                heard.append(kwargs["fn"].name)
                if mode == "error":
                    raise RuntimeError("Triton kernel JIT compilation during inference")
                return None if before is None else before(**kwargs)

            knobs.runtime.jit_post_compile_hook = hook
        """,
    "v1/__init__.py": "",
    "v1/serial_utils.py": """
        def run_method(obj, method, args, kwargs):
            try:
                func = getattr(obj, method)
            except AttributeError:
                raise NotImplementedError(f"Method {method!r} is not implemented.") from None
            return func(*args, **kwargs)
        """,
    "v1/worker/__init__.py": "",
    "v1/worker/worker_base.py": """
        class WorkerWrapperBase:
            def __init__(self, rank=0):
                self.rank = rank

            def init_worker(self, **kwargs):
                from vllm.plugins import load_general_plugins
                load_general_plugins()
                from vllm.v1.worker.gpu_worker import Worker
                self.worker = Worker(**kwargs)

            def init_device(self):
                self.worker.init_device()

            def __getattr__(self, attr):
                return getattr(self.worker, attr)
        """,
    "v1/worker/kernels.py": KERNELS,
    "v1/worker/gpu_worker.py": """
        import os

        class Worker:
            def __init__(self, warm_up=(1, 2)):
                self.warm_up = warm_up

            def init_device(self):
                self.device = "one"

            def load_model(self):
                from vllm.v1.worker import kernels
                self.launch = kernels.launch

            def compile_or_warm_up_model(self):
                best = [self.launch(n) for n in self.warm_up]
                if not best:
                    raise RuntimeError("the warm-up failed")
                # As the last thing: `--jit-monitor-mode`.
                from vllm.utils.jit_monitor import activate
                activate(mode=os.environ.get("JIT_MONITOR_MODE", "warn"))
                return best

            def execute_model(self, n):
                return self.launch(n)
        """,
    # One engine: `--spawn` or `--fork` workers, each does what it is told by name.
    "serve.py": """
        import json, multiprocessing, os, sys

        def work(rank, answers, server):
            from vllm.v1.serial_utils import run_method
            from vllm.v1.worker.worker_base import WorkerWrapperBase
            wrapper = WorkerWrapperBase(rank)
            run_method(wrapper, "init_worker", (), {})
            run_method(wrapper, "init_device", (), {})
            run_method(wrapper, "load_model", (), {})
            best = run_method(wrapper, "compile_or_warm_up_model", (), {})
            best.append(run_method(wrapper, "execute_model", (3,), {}))
            sys.stdout.flush()
            answers.put([rank, os.getppid() == server, best])

        def main(method, workers):
            import vllm
            from vllm.plugins import load_general_plugins
            from vllm.utils import setproctitle
            load_general_plugins()
            load_general_plugins()
            if "moved" in sys.argv:
                setproctitle("VLLM::EngineCore")
                os.environ["TRITON_CACHE_DIR"] = os.environ["HOME"] + "/moved"
            context = multiprocessing.get_context(method)
            answers = context.SimpleQueue()
            processes = [context.Process(target=work, args=(rank, answers, os.getpid()))
                         for rank in range(workers)]
            said = []
            for process in processes:  # one after another: the second finds what the first tuned
                sys.stdout.flush()
                process.start()
                said.append(answers.get())
                process.join()
                assert process.exitcode == 0
            print(json.dumps(said))

        if __name__ == "__main__":
            main(sys.argv[1], 1 if "one" in sys.argv else 2)
        """,
}

SGLANG = {
    # SGLang points Triton's cache elsewhere as the first thing of its import, unless it is set.
    "__init__.py": """
        import os
        os.environ.setdefault("TRITON_CACHE_DIR", os.environ["HOME"] + "/.cache/sglang/triton")
        """,
    "srt/__init__.py": "",
    "srt/plugins/__init__.py": LOADER
    + textwrap.dedent("""
        def load_plugins():
            global plugins_loaded
            if plugins_loaded:
                return
            plugins_loaded = True
            names = os.environ.get("SGLANG_PLUGINS")
            for function in load("sglang.srt.plugins", names.split(",") if names else None):
                try:
                    function()
                except Exception:
                    logger.exception("Failed to execute general plugin")
            from sglang.srt.plugins.hook_registry import HookRegistry
            HookRegistry.apply_hooks()
        """),
    "srt/plugins/hook_registry.py": """
        import enum, functools, pkgutil

        class HookType(enum.Enum):
            AFTER = "after"
            REPLACE = "replace"

        class HookRegistry:
            hooks = []

            @classmethod
            def register(cls, target, hook, hook_type=HookType.AFTER):
                cls.hooks.append((target, hook, hook_type))

            @classmethod
            def apply_hooks(cls):
                for target, hook, hook_type in cls.hooks:
                    place, _, name = target.rpartition(".")
                    owner = pkgutil.resolve_name(place)
                    original = getattr(owner, name)
                    if hook_type is HookType.REPLACE:
                        setattr(owner, name, hook)
                        continue

                    @functools.wraps(original)
                    def wrapper(*args, original=original, hook=hook, **kwargs):
                        result = original(*args, **kwargs)
                        modified = hook(result, *args, **kwargs)
                        return modified if modified is not None else result

                    setattr(owner, name, wrapper)
        """,
    "srt/utils.py": PROCESS_TITLE,
    "srt/kernels.py": KERNELS,
    "srt/managers/__init__.py": "",
    "srt/managers/detokenizer_manager.py": """
        import sys

        def run_detokenizer_process(answers, *rest):
            from sglang.srt.plugins import load_plugins
            load_plugins()
            answers.put(["detokenizer", "sglang.srt.managers.scheduler" in sys.modules, []])
        """,
    "srt/managers/scheduler.py": """
        import logging, os, sys

        class Scheduler:
            def __init__(self):
                from sglang.srt import kernels
                self.launch = kernels.launch
                # Bound when the scheduler is made.
                self.dispatch = {"freeze_gc": self.handle_freeze_gc, "generate": self.generate}

            def generate(self, n):
                return self.launch(n)

            def handle_freeze_gc(self, request):
                return None

        def run_scheduler_process(answers, rank):
            from sglang.srt.plugins import load_plugins
            from sglang.srt.utils import setproctitle
            setproctitle("sglang::scheduler")
            load_plugins()
            logging.basicConfig(level="INFO", stream=sys.stdout, force=True,
                                format=f"[%(asctime)s TP{rank}] %(message)s")
            os.environ["TRITON_CACHE_DIR"] = os.environ["HOME"] + "/moved"
            scheduler = Scheduler()
            best = [scheduler.dispatch["generate"](1)]
            result = scheduler.dispatch["freeze_gc"]({"gc_threshold": None})
            best.append(scheduler.dispatch["generate"](2))
            sys.stdout.flush()
            answers.put(["scheduler", result, best])
        """,
    "launch_server.py": """
        import json, multiprocessing, sys

        def main():
            from sglang.srt.plugins import load_plugins
            load_plugins()
            imported = "sglang.srt.managers.scheduler" in sys.modules
            from sglang.srt.managers.detokenizer_manager import run_detokenizer_process
            from sglang.srt.managers.scheduler import run_scheduler_process
            context = multiprocessing.get_context("spawn")
            answers, said = context.SimpleQueue(), [["launcher", imported, []]]
            for target, rank in [(run_scheduler_process, 0), (run_scheduler_process, 1),
                                 (run_detokenizer_process, 0)]:
                process = context.Process(target=target, args=(answers, rank))
                process.start()
                said.append(answers.get())
                process.join()
                assert process.exitcode == 0
            print(json.dumps(said))

        if __name__ == "__main__":
            main()
        """,
}
_ENTRY = re.compile(r'\[project\.entry-points\."([\w.]+)"\]\n(\w+) = "([\w.:]+)"')


def install(site: Path, name: str, files: dict[str, str]) -> None:
    """Write package `name` and the metadata of ours into `site`."""
    for path, text in files.items():
        file = site / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
    install_entry_points(site)


def install_entry_points(site: Path) -> None:
    """What ``pip install`` leaves of our entry points, as pyproject.toml has them."""
    about = site / "tuneonce-0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tuneonce\nVersion: 0\n")
    found = _ENTRY.findall((ROOT / "pyproject.toml").read_text())
    text = "".join(f"[{group}]\n{entry} = {target}\n" for group, entry, target in found)
    (about / "entry_points.txt").write_text(text)
