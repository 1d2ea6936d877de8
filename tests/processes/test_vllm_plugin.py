"""Loaded by a server as a plugin: by a stand-in with vLLM's shape, and by the real one if there.

The programs run Triton's interpreter on a kernel without tensors, which needs no torch.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import ROOT, last_json
from tests.processes.stand_ins import KERNELS, VLLM, install, install_entry_points
from tests.processes.test_activation import Machine, outcome

pytest.importorskip("triton")
pytest.importorskip("msgspec")

# How vLLM writes a line: level, time, file and line, message.
LINE = r"(?:INFO|WARNING) \d\d-\d\d \d\d:\d\d:\d\d \[\w+\.py:\d+\] tuneonce: "
FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
METHODS = ["spawn", pytest.param("fork", marks=FORKS)]


@pytest.fixture
def server(tmp_path: Path) -> Machine:
    """A machine with our package and the stand-in; vLLM is all that its programs know of."""
    home = tmp_path / "home"
    home.mkdir()
    install(home / "site", "vllm", VLLM)
    path = os.pathsep.join([str(home / "site"), str(ROOT / "src")])
    # What is counted is tuned, whichever phase it is first met in.
    usual = {"PYTHONPATH": path, "TUNEONCE_RAISE": None, "TUNEONCE_ON_MISS_SERVING": "tune"}
    return Machine(home, usual)  # type: ignore[arg-type]


def serve(server: Machine, *args: str, **env: str | None) -> tuple[Any, list[str], list[str]]:
    """One start: what the workers answered, our lines in vLLM's format, and all that is not."""
    variables = server.variables(**env)
    done = server.start(sys.executable, "-m", "vllm.serve", *args, env=variables)
    lines = done.stdout.splitlines()
    ours = [line for line in lines if "tuneonce" in line]
    assert all(re.match(LINE, line) for line in ours), ours
    others = [line for line in lines if line not in ours and not line.startswith("[[")]
    told = [re.sub(LINE, "", line) for line in ours]
    return last_json(done.stdout), told, others + done.stderr.splitlines()


def run(server: Machine, program: str, **env: str | None) -> tuple[Any, str, str]:
    x = server.write("x.py", program)
    done = server.start(sys.executable, x, env=server.variables(**env))
    return last_json(done.stdout), done.stdout, done.stderr


# -- a server and its workers --------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_every_worker_has_it_and_is_ready_after_its_warm_up(server: Machine, method: str) -> None:
    answers, told, others = serve(server, method)
    assert [answer[:2] for answer in answers] == [[0, True], [1, True]]
    assert answers[0][2] == answers[1][2]
    # The first worker tunes two keys in its warm-up and one while serving, the second finds them.
    assert outcome(server.totals()) == (3, 9, 3)
    totals = server.totals()
    assert (totals.processes, totals.ready, totals.serving_tunes) == (2, 2, 1)
    assert totals.problems == {}
    assert [line.partition(" (")[0] for line in told] == [
        f"on, store {server.store}",
        "ready: 0 hits, 2 tunes",
        f"on, store {server.store}",
        "ready: 2 hits, 0 tunes",
    ]
    assert others == []
    _, told, _ = serve(server, method)
    assert [line.partition(" (")[0] for line in told][1::2] == ["ready: 2 hits, 0 tunes"] * 2
    assert outcome(server.totals()) == (3, 9, 9)


@pytest.mark.parametrize("method", METHODS)
def test_a_moved_cache_and_an_overwritten_environment_do_not_move_the_store(
    server: Machine, method: str
) -> None:
    if not Path("/proc/self/environ").exists():
        pytest.skip("no /proc")
    _, told, _ = serve(server, method, "moved")
    assert told[0] == f"on, store {server.store}"
    assert outcome(server.totals()) == (3, 9, 3)
    assert not (server.home / "moved" / "tuneonce").exists()
    _, told, _ = serve(server, method)
    assert "ready: 2 hits, 0 tunes" in told[1]


@pytest.mark.parametrize(
    "off",
    [
        {"VLLM_PLUGINS": ""},
        {"VLLM_PLUGINS": "another"},
        {"TUNEONCE": "0"},
        {"TRITON_CACHE_AUTOTUNING": "0"},
    ],
    ids=str,
)
def test_switched_off(server: Machine, off: dict[str, str]) -> None:
    answers, told, others = serve(server, "spawn", "one", **off)
    assert len(answers) == 1
    assert (told, others) == ([], [])
    assert not server.store.exists()


@pytest.mark.parametrize("names", ["tuneonce", "another,tuneonce"])
def test_chosen_by_name(server: Machine, names: str) -> None:
    _, told, _ = serve(server, "spawn", "one", VLLM_PLUGINS=names)
    assert len(told) == 2


def test_observing(server: Machine) -> None:
    serve(server, "spawn", "one", TUNEONCE="observe")
    totals = server.totals()
    assert (totals.tunes, totals.hits, totals.ready, totals.serving_tunes) == (3, 0, 1, 1)


def test_beside_tuneonce_run(server: Machine) -> None:
    command = ("-m", "tuneonce", "run", "--", sys.executable, "-m", "vllm.serve", "spawn")
    done = server.start(sys.executable, *command, env=server.variables())
    told = [line for line in done.stdout.splitlines() if "tuneonce" in line]
    assert len(told) == 4
    assert all(re.match(LINE, line) for line in told)
    assert outcome(server.totals()) == (3, 9, 3)
    assert server.totals().ready == 2


def test_lines_go_where_the_user_sends_them(server: Machine) -> None:
    # Logging of vLLM's off: the root logger's, if somebody has set one up.
    done = server.start(
        sys.executable, "-m", "vllm.serve", "spawn",
        env=server.variables(VLLM_CONFIGURE_LOGGING="0"),
    )  # fmt: skip
    assert "tuneonce" not in done.stdout + done.stderr
    assert server.totals().ready == 2


BEFORE_WEIGHTS = """
import json, threading
import vllm
from vllm.plugins import load_general_plugins
load_general_plugins()
from vllm.v1.worker.worker_base import WorkerWrapperBase
wrapper = WorkerWrapperBase()
wrapper.init_worker()
wrapper.init_device()
for thread in threading.enumerate():
    if thread.name == "tuneonce-early":
        thread.join()
try:
    from triton.runtime.cache import triton_key
except ImportError:
    from triton.compiler.compiler import triton_key
print(json.dumps([wrapper.device, triton_key.cache_info().currsize]))
"""


@pytest.mark.parametrize(
    ("variables", "early"),
    [
        ({}, 1),
        ({"TRITON_INTERPRET": "1"}, 0),
        ({"TUNEONCE": "observe"}, 0),
        ({"TUNEONCE": "0"}, 0),
        ({"VLLM_TRITON_FORCE_FIRST_CONFIG": "1"}, 0),
    ],
    ids=str,
)
def test_what_the_first_kernel_needs_is_begun_before_the_weights(
    server: Machine, variables: dict[str, str], early: int
) -> None:
    said, _, _ = run(server, BEFORE_WEIGHTS, **{"TRITON_INTERPRET": None, **variables})
    assert said == ["one", early]


# -- vLLM's own Autotuner.run --------------------------------------------------------------------


def test_vllm_forced_the_first_configuration(server: Machine) -> None:
    answers, told, others = serve(server, "spawn", VLLM_TRITON_FORCE_FIRST_CONFIG="1")
    assert all(best.startswith("B: 16") for answer in answers for best in answer[2])
    who = "vllm.triton_utils.force_first_config._run_first_valid_config"
    # The launcher and both workers, each as it loads the plugin.
    assert told == [f"stepping aside, Autotuner.run belongs to {who}"] * 3
    assert others == []
    totals = server.totals()
    assert totals.problems == {"stepped_aside": 3}
    assert outcome(totals) == (0, 0, 0)


@pytest.mark.parametrize("first", ["tuneonce.install()", "import triton\ntuneonce.install()"])
def test_vllm_forces_it_after_us(server: Machine, first: str) -> None:
    program = f"""
import json, tuneonce
{first}
import vllm
from vllm.plugins import load_general_plugins
load_general_plugins()
from vllm.v1.worker import kernels
best = kernels.launch()
tuneonce.ready()
print(json.dumps([best]))
"""
    [best], out, error = run(server, program, VLLM_TRITON_FORCE_FIRST_CONFIG="1")
    assert best.startswith("B: 16")
    who = "vllm.triton_utils.force_first_config.install.<locals>._run_first_valid_config"
    [line, _] = out.splitlines()
    assert re.sub(LINE, "", line) == f"{who} has replaced Autotuner.run and decides now"
    assert error == ""
    assert server.totals().problems == {"replaced": 1}
    assert outcome(server.totals()) == (0, 0, 0)


# -- register ------------------------------------------------------------------------------------

AGAIN = """
import json, sys
from vllm.plugins import load_general_plugins
import vllm.plugins
import triton.runtime.autotuner as autotuner
stock = autotuner.Autotuner.run
state = []
for _ in range(3):
    vllm.plugins.plugins_loaded = False
    load_general_plugins()
    from vllm.v1.worker.worker_base import WorkerWrapperBase
    state.append([id(autotuner.Autotuner.run), id(vars(WorkerWrapperBase).get(
        "compile_or_warm_up_model")), len(sys.meta_path)])
assert autotuner.Autotuner.run is not stock
wrapper = WorkerWrapperBase()
wrapper.init_worker()
wrapper.load_model()
best = [wrapper.compile_or_warm_up_model() for _ in range(2)]
print(json.dumps([state[1:] == state[:-1] or state, best[0] == best[1]]))
"""


def test_loaded_again_and_again(server: Machine) -> None:
    same, out, error = run(server, AGAIN.replace("len(sys.meta_path)", "0"))
    assert same == [True, True]
    assert error == ""
    assert len([line for line in out.splitlines() if "tuneonce" in line]) == 2
    assert (server.totals().ready, server.totals().tunes) == (1, 2)


def test_after_the_worker_and_its_kernels_were_imported(server: Machine) -> None:
    program = """
    import json
    import vllm
    from vllm.v1.worker import kernels, worker_base
    from vllm.plugins import load_general_plugins
    load_general_plugins()
    wrapper = worker_base.WorkerWrapperBase()
    wrapper.init_worker()
    wrapper.load_model()
    print(json.dumps(wrapper.compile_or_warm_up_model()))
    """
    run(server, program)
    assert (server.totals().ready, server.totals().tunes) == (1, 2)


@pytest.mark.parametrize(
    ("source", "calls"),
    [
        ("class WorkerWrapperBase:\n    def compile_or_warm_up_model(self, *a, **k):\n"
         "        'its own'\n        return [a, k]", 1),
        ("class Base:\n    def compile_or_warm_up_model(self, *a, **k):\n        return [a, k]\n"
         "class WorkerWrapperBase:\n    worker = Base()", 1),
        ("WorkerWrapperBase = None", 0),
        ("def WorkerWrapperBase(): pass", 0),
        ("", 0),
    ],
    ids=["defines it", "delegates", "none", "a function", "missing"],
)  # fmt: skip
def test_other_shapes_of_the_worker(server: Machine, source: str, calls: int) -> None:
    server.write("site/vllm/v1/worker/worker_base.py", source)
    program = """
    import json
    from vllm.plugins import load_general_plugins
    load_general_plugins()
    from vllm.v1.worker import kernels, worker_base
    kernels.launch()
    wrapper = getattr(worker_base, "WorkerWrapperBase", None)
    said = None
    if isinstance(wrapper, type):
        said = wrapper().compile_or_warm_up_model(1, two=2)
    print(json.dumps([said]))
    """
    [said], _, error = run(server, program)
    assert error == ""
    assert said == ([[1], {"two": 2}] if calls else None)
    assert server.totals().ready == calls


def test_an_older_place_of_the_worker(server: Machine) -> None:
    server.write("site/vllm/worker/__init__.py", "")
    server.write("site/vllm/worker/worker_base.py", VLLM["v1/worker/worker_base.py"])
    program = """
    import json
    from vllm.plugins import load_general_plugins
    load_general_plugins()
    from vllm.worker.worker_base import WorkerWrapperBase
    wrapper = WorkerWrapperBase()
    wrapper.init_worker()
    wrapper.load_model()
    print(json.dumps(wrapper.compile_or_warm_up_model()))
    """
    run(server, program)
    assert server.totals().ready == 1


def test_a_warm_up_that_fails_is_not_ready(server: Machine) -> None:
    program = """
    import json
    from vllm.plugins import load_general_plugins
    load_general_plugins()
    from vllm.v1.worker.worker_base import WorkerWrapperBase
    wrapper = WorkerWrapperBase()
    wrapper.init_worker(warm_up=())
    wrapper.load_model()
    said = []
    for _ in range(2):
        try:
            wrapper.compile_or_warm_up_model()
        except RuntimeError as error:
            said.append(str(error))
    print(json.dumps(said))
    """
    said, _, _ = run(server, program)
    assert said == ["the warm-up failed"] * 2
    assert server.totals().ready == 0


@pytest.mark.parametrize(
    "broken",
    [
        {"TUNEONCE_STORE": "nosuch://host"},
        {"TUNEONCE_STORE": "~nobody-here/x"},
        {"TUNEONCE": "nonsense"},
        {"TUNEONCE_STORE": "/dev/null/store"},
        {"TUNEONCE_STORE": "/proc/nowhere"},
        {"TUNEONCE_EVENTS": "/dev/null/events"},
        {"HOME": "/dev/null", "TRITON_CACHE_DIR": None, "XDG_CACHE_HOME": None},
    ],
    ids=str,
)
def test_whatever_is_broken_the_server_starts(server: Machine, broken: dict[str, Any]) -> None:
    answers, told, others = serve(server, "fork", "one", **broken)
    assert len(answers) == 1
    # A store that cannot be opened is told in vLLM's format too, by whoever finds out.
    assert [line for line in others if "tuneonce" not in line] == []
    if "TUNEONCE_EVENTS" not in broken and "HOME" not in broken:
        assert told


def test_an_error_of_ours_is_one_line(server: Machine) -> None:
    program = """
    import json
    import tuneonce.activation.install
    def broken():
        raise ValueError("of ours")
    tuneonce.activation.install.install = broken
    from vllm.plugins import load_general_plugins
    load_general_plugins()
    print(json.dumps([]))
    """
    _, out, error = run(server, program)
    assert error == ""
    assert re.sub(LINE, "", out.splitlines()[0]) == "not activated: ValueError('of ours')"


def test_logging_that_somebody_configured_stays(server: Machine) -> None:
    program = """
    import json, logging, sys
    import vllm
    ours = logging.getLogger("tuneonce")
    handler = logging.StreamHandler(sys.stderr)
    ours.addHandler(handler)
    ours.setLevel("INFO")
    from vllm.plugins import load_general_plugins
    load_general_plugins()
    from vllm.v1.worker import kernels
    kernels.launch()
    print(json.dumps([ours.handlers == [handler], ours.propagate]))
    """
    said, out, error = run(server, program)
    assert said == [True, True]
    assert "tuneonce" not in out
    assert error == f"tuneonce: on, store {server.store}\n"


# -- vLLM's monitor of what is compiled while it serves ------------------------------------------

COMPILED = """
import torch, triton, triton.language as tl
from triton import knobs
from tuneonce.testing import SimulatedGPU

SimulatedGPU(do_bench=True).install()

told = []
knobs.runtime.jit_post_compile_hook = lambda **call: told.append(call["fn"].name)

@triton.autotune([triton.Config({"B": b}) for b in (16, 32)], key=["n"])
@triton.jit
def tuned(x, n, B: tl.constexpr):
    tl.store(x + tl.arange(0, B), n)

@triton.jit
def plain(x, n):
    tl.store(x, n)

def launch(n=1):
    x = torch.zeros(64)
    tuned[(1,)](x, n)
    if n == 3:  # no warm-up does this
        plain[(1,)](x, n)
    return str(tuned.best_config)
"""

WATCHED = """
import json
from vllm.plugins import load_general_plugins
load_general_plugins()
from vllm.v1.serial_utils import run_method
from vllm.v1.worker.worker_base import WorkerWrapperBase
wrapper = WorkerWrapperBase(0)
for method in ("init_worker", "init_device", "load_model"):
    run_method(wrapper, method, (), {})
from vllm.v1.worker import kernels
from vllm.utils import jit_monitor
run_method(wrapper, "compile_or_warm_up_model", (), {})
warm_up = [name.rpartition(".")[2] for name in kernels.told]
try:
    answer = run_method(wrapper, "execute_model", (3,), {})
except RuntimeError as error:
    answer = str(error)
print(json.dumps([answer, warm_up, len(kernels.told) - len(warm_up), jit_monitor.heard]))
"""


def test_a_second_start_passes_vllm_s_monitor_in_error_mode(server: Machine) -> None:
    pytest.importorskip("torch")
    server.write("site/vllm/v1/worker/kernels.py", COMPILED)

    def start(mode: str) -> Any:
        compiled = {"TRITON_INTERPRET": None, "TRITON_DEFAULT_FP_FUSION": "1"}
        said, _, error = run(server, WATCHED, JIT_MONITOR_MODE=mode, **compiled)
        assert error == ""
        return said

    refused, _, _, heard = start("error")
    assert refused == "Triton kernel JIT compilation during inference"
    assert [name.rpartition(".")[2] for name in heard] == ["plain"]
    for _ in range(2):
        answer, warm_up, later, heard = start("error")
        assert answer.startswith("B: ")
        assert (later, heard) == (0, [])
        # The hook that was there hears of what is made ready, two guesses at its number among it,
        # and the monitor is over it later.
        assert warm_up.count("plain") == 3
    # Once a start: `ready` comes when the monitor is armed.
    assert len([event for event in server.events() if event.get("e") == "replay"]) == 2


# -- vLLM's metrics ------------------------------------------------------------------------------

# As in vLLM's API server, which imports the client after or before its plugins, removes what it
# has left in its registry, starts its workers and answers from the registry.
METRICS = """
import json, multiprocessing, sys
{first}

def work(answers):
    from vllm.v1.serial_utils import run_method
    from vllm.v1.worker.worker_base import WorkerWrapperBase
    wrapper = WorkerWrapperBase(0)
    for method in ("init_worker", "init_device", "load_model", "compile_or_warm_up_model"):
        run_method(wrapper, method, (), {{}})
    run_method(wrapper, "execute_model", (3,), {{}})
    answers.put(1)

def start(context, answers):
    worker = context.Process(target=work, args=(answers,))
    worker.start()
    worker.join()

if __name__ == "__main__":
    import vllm
    from vllm.plugins import load_general_plugins
    load_general_plugins()
    told = "prometheus_client" in sys.modules
    from prometheus_client import REGISTRY, generate_latest
    for collector in list(REGISTRY._collector_to_names):
        if hasattr(collector, "_name") and collector._name.startswith("vllm:"):
            REGISTRY.unregister(collector)
    context = multiprocessing.get_context({method!r})
    answers = context.SimpleQueue()
    # The worker is not a child of this process, but of one that launches nothing.
    core = context.Process(target=start, args=(context, answers))
    core.start()
    core.join()
    assert answers.get() == 1
    from tuneonce.events import follower
    follower.WAIT_S = 60.0
    lines = generate_latest().decode().splitlines()
    values = dict(line.rpartition(" ")[::2] for line in lines if line[:9] == "tuneonce_")
    print(json.dumps([told, values]))
"""


@pytest.mark.parametrize(
    ("method", "first"),
    [
        ("spawn", ""),
        pytest.param("fork", "import prometheus_client", marks=FORKS),
        pytest.param("spawn", "import prometheus_client", marks=pytest.mark.thorough),
        pytest.param("fork", "", marks=[FORKS, pytest.mark.thorough]),
    ],
)
def test_the_api_server_tells_of_its_workers(server: Machine, method: str, first: str) -> None:
    pytest.importorskip("prometheus_client")
    if not Path("/proc/self/stat").exists():
        pytest.skip("no /proc")
    serve(server, "spawn", "one")  # another server's events are in the same directory
    earlier = server.totals()
    assert earlier.tunes == 3
    program = METRICS.format(method=method, first=first)
    [imported, values], _, error = run(server, program)
    assert error == ""
    assert imported is bool(first)  # what vLLM does not import is not imported for it
    found = server.totals()
    assert float(values["tuneonce_processes"]) == found.processes - earlier.processes
    assert float(values["tuneonce_processes_ready"]) == 1
    assert float(values['tuneonce_keys_total{outcome="hit",phase="starting"}']) == 2
    assert float(values['tuneonce_keys_total{outcome="hit",phase="serving"}']) == 1
    assert float(values['tuneonce_tunes_total{phase="starting"}']) == 0


@pytest.mark.parametrize(
    "client",
    [
        "raise ImportError('broken')",
        "x = 1",
        """
        class Registry:
            def register(self, collector):
                raise ValueError("Duplicated timeseries")
        REGISTRY = Registry()
        """,
    ],
    ids=["broken", "another", "refuses"],
)
def test_whatever_the_client_is_the_server_starts(server: Machine, client: str) -> None:
    server.write("site/prometheus_client.py", client)
    program = """
    import json
    from vllm.plugins import load_general_plugins
    load_general_plugins()
    try:
        import prometheus_client
    except ImportError as error:
        assert str(error) == "broken"
    from vllm.v1.worker import kernels
    print(json.dumps([kernels.launch()]))
    """
    said, _, error = run(server, program)
    assert len(said) == 1
    assert error == ""


def test_a_server_whose_plugin_is_off_has_no_metrics_of_ours(server: Machine) -> None:
    pytest.importorskip("prometheus_client")
    program = """
    import json
    import prometheus_client
    from vllm.plugins import load_general_plugins
    load_general_plugins()
    print(json.dumps(["tuneonce" in prometheus_client.generate_latest().decode()]))
    """
    assert run(server, program)[0] == [True]
    assert run(server, program, TUNEONCE="0")[0] == [False]


# -- the real vLLM, where there is one -----------------------------------------------------------

REAL = """
import json, sys
import triton.backends
sys.path[:0] = json.loads(sys.argv[1])
# Without a GPU vLLM does without Triton, and forces nothing.
triton.backends.backends["nvidia"].driver.is_active = staticmethod(lambda: True)
import tuneonce
if sys.argv[2] == "before":
    tuneonce.install()
from vllm.plugins import load_general_plugins
load_general_plugins()
load_general_plugins()
import triton.runtime.autotuner as autotuner
from vllm.v1.serial_utils import run_method
from vllm.v1.worker.worker_base import WorkerWrapperBase

class Worker:
    def compile_or_warm_up_model(self):
        import kernels
        return kernels.launch()

wrapper = WorkerWrapperBase()
wrapper.worker = Worker()
best = run_method(wrapper, "compile_or_warm_up_model", (), {})
again = run_method(wrapper, "compile_or_warm_up_model", (), {})
print(json.dumps({
    "installed": tuneonce.is_installed(),
    "run": autotuner.Autotuner.run.__module__,
    "same": best == again,
    "best": best,
}))
"""


def real_vllm() -> list[str] | None:
    """What to put on ``sys.path`` for the real vLLM; TEST_VLLM_PATH for one that is unpacked."""
    if "TEST_VLLM_PATH" in os.environ:
        return os.environ["TEST_VLLM_PATH"].split(os.pathsep)
    try:
        return [] if importlib.util.find_spec("vllm") is not None else None
    except (ImportError, ValueError):
        return None


@pytest.mark.slow
@pytest.mark.skipif(real_vllm() is None, reason="no vLLM")
@pytest.mark.parametrize(
    ("force_first", "installed", "problem"),
    [("0", "later", None), ("1", "later", "stepped_aside"), ("1", "before", "replaced")],
)
def test_the_real_vllm(
    tmp_path: Path, force_first: str, installed: str, problem: str | None
) -> None:
    install_entry_points(tmp_path / "site")
    machine = Machine(tmp_path)
    machine.write("kernels.py", KERNELS)
    x = machine.write("x.py", REAL)
    paths = os.pathsep.join([str(tmp_path / "site"), str(ROOT / "src")])
    done = machine.start(
        sys.executable, x, json.dumps(real_vllm()), installed,
        env=machine.variables(PYTHONPATH=paths, VLLM_TRITON_FORCE_FIRST_CONFIG=force_first),
    )  # fmt: skip
    said = last_json(done.stdout)
    assert (said["installed"], said["same"]) == (True, True)
    told = [line for line in done.stdout.splitlines() if "tuneonce:" in line]
    assert all(re.search(LINE, line) for line in told)
    totals = machine.totals()
    assert totals.ready == 1
    if problem is None:
        assert said["run"] == "tuneonce.triton.launch.hook"
        assert (totals.tunes, len(told)) == (1, 2)
    else:
        assert said["run"] == "vllm.triton_utils.force_first_config"
        assert said["best"].startswith("B: 16")
        assert totals.problems == {problem: 1}
        assert (totals.tunes, len(told)) == (0, 1)
