"""Switched on and off, each way in a process of its own.

The programs run Triton's interpreter on a kernel without tensors, which needs no torch.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import textwrap
import venv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import ROOT, events_of, last_json
from tests.kernels.warm import WarmPython
from tests.processes.stand_ins import KERNELS as KERNEL
from tuneonce.activation.install import child_environment
from tuneonce.events.log import read_processes
from tuneonce.events.totals import Totals, summarise

triton = pytest.importorskip("triton")
msgspec = pytest.importorskip("msgspec")


@dataclass
class Machine:
    """Directories that the programs of one test share, and a way to run them."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    python: str = sys.executable
    warm: WarmPython | None = None

    @property
    def triton_cache(self) -> Path:
        return self.home / "triton"

    @property
    def store(self) -> Path:
        return self.triton_cache / "tuneonce"

    def write(self, name: str, text: str) -> Path:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def variables(self, **more: str | None) -> dict[str, str]:
        names = {
            **os.environ,
            "HOME": str(self.home),
            "TRITON_CACHE_DIR": str(self.triton_cache),
            "TRITON_INTERPRET": "1",
            "PYTHONPATH": str(ROOT / "src"),
            **self.environment,
            **more,
        }
        return {name: value for name, value in names.items() if value is not None}

    def start(self, *command: str | Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(word) for word in command],
            env=env,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done

    def run(self, program: str | Path, *args: str, **env: str | None) -> Any:
        """Run a program as it is, in this environment; returns the JSON that it printed last."""
        path = program if isinstance(program, Path) else self.write("x.py", program)
        done = self.start(self.python, path, *args, env=self.variables(**env))
        assert done.stderr == ""
        return last_json(done.stdout)

    def start_warm(
        self, program: Path, *args: str, env: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """What `start` returns of a program in a fork of a process that has imported triton.

        For what is not about the start: the program switches on for itself, and is told of its
        store, since what its process was started with is another's.
        """
        assert self.warm is not None
        env = {"TUNEONCE_STORE": str(self.store), **env}
        told = self.home.with_name("told")
        done = self.warm.run(program, *args, env=env, cwd=self.home, told=told)
        assert done.returncode == 0, done.stderr[-4000:]
        return done

    def tuneonce_run(self, program: str | Path, *args: str, **env: str | None) -> Any:
        """The same with ``tuneonce run --`` in front."""
        path = program if isinstance(program, Path) else self.write("x.py", program)
        command = (self.python, "-m", "tuneonce", "run", "-q", "--", self.python, path, *args)
        done = self.start(*command, env=self.variables(**env))
        assert done.stderr == ""
        return last_json(done.stdout)

    def totals(self, store: Path | None = None) -> Totals:
        """What all programs so far did, from their events."""
        return summarise(self.events_directory(store))

    def events(self) -> list[dict[str, Any]]:
        return [event for lines in read_processes(self.events_directory()) for event in lines]

    def events_directory(self, store: Path | None = None) -> Path:
        # Some programs start without XDG_CACHE_HOME.
        found = (
            events_of(store or self.store, self.variables(**more))
            for more in ({"XDG_CACHE_HOME": None}, {})
        )
        return next((path for path in found if path.is_dir()), self.home / "none")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    home = tmp_path / "home"
    home.mkdir()
    made = Machine(home)
    made.write("little.py", KERNEL)
    return made


def outcome(totals: Totals) -> tuple[int, int, int]:
    """(tunes, candidates measured, hits)"""
    return totals.tunes, totals.candidates_measured, totals.hits


TELL = """
import json, sys
print(json.dumps({
    "installed": "tuneonce" in sys.modules and sys.modules["tuneonce"].is_installed(),
    "triton": "triton" in sys.modules,
    "msgspec": "msgspec" in sys.modules,
    "best": globals().get("best"),
}))
"""
FIRST = "import little\nimport json, logging, random\nbest = little.launch()\n" + TELL
LAST = f"""
import json, logging, random
def main():
    import little
    return little.launch()
best = main()
{TELL}"""
NEVER = "import json, logging, random\n" + TELL


# -- tuneonce run --------------------------------------------------------------------------------


@pytest.mark.parametrize("program", [FIRST, LAST], ids=["first", "last"])
def test_run_a_program_that_imports_triton(machine: Machine, program: str) -> None:
    said = machine.tuneonce_run(program)
    assert said["installed"]
    assert outcome(machine.totals()) == (1, 3, 0)
    again = machine.tuneonce_run(program)
    assert outcome(machine.totals()) == (1, 3, 1)
    assert again["best"] == said["best"]
    assert machine.totals().problems == {}


def test_run_a_program_that_never_imports_triton(machine: Machine) -> None:
    said = machine.tuneonce_run(NEVER)
    assert said == {"installed": True, "triton": False, "msgspec": False, "best": None}
    assert not machine.triton_cache.exists()


def test_run_passes_on_arguments_and_the_exit_code(machine: Machine) -> None:
    path = machine.write("x.py", "import sys\nprint(sys.argv[1:])\nsys.exit(7)\n")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tuneonce",
            "run",
            "--",
            sys.executable,
            path,
            "--",
            "-x",
            "--store",
        ],
        env=machine.variables(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (7, "['--', '-x', '--store']\n")


def test_run_leaves_a_sitecustomize_its_turn(machine: Machine) -> None:
    theirs = machine.write("theirs/sitecustomize.py", "import builtins\nbuiltins.theirs = 1\n")
    path = os.pathsep.join([str(theirs.parent), str(ROOT / "src")])
    program = "import sitecustomize\nbest = [theirs, sitecustomize.__file__]\n" + TELL
    said = machine.tuneonce_run(program, PYTHONPATH=path)
    assert said["installed"]
    assert said["best"] == [1, str(theirs)]


def test_run_leaves_a_sitecustomize_its_errors(machine: Machine) -> None:
    theirs = machine.write("theirs/sitecustomize.py", "raise RuntimeError('of theirs')\n")
    path = os.pathsep.join([str(theirs.parent), str(ROOT / "src")])
    x = machine.write("x.py", FIRST)
    stock = machine.start(sys.executable, x, env=machine.variables(PYTHONPATH=path))
    command = (sys.executable, "-m", "tuneonce", "run", "--quiet", "--", sys.executable, x)
    ours = machine.start(*command, env=machine.variables(PYTHONPATH=path))
    assert "of theirs" in stock.stderr
    assert ours.stderr.splitlines()[-1] == stock.stderr.splitlines()[-1]
    assert last_json(ours.stdout)["installed"]


CHILDREN = """
import json, multiprocessing, subprocess, sys
import little

def child(answers):
    answers.put(little.launch())

if __name__ == "__main__":
    best = []
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        answers = context.SimpleQueue()
        process = context.Process(target=child, args=(answers,))
        process.start()
        best.append(answers.get())
        process.join()
        assert process.exitcode == 0
    code = "import little; print(little.launch())"
    best.append(subprocess.check_output([sys.executable, "-c", code], text=True).strip())
    best.append(little.launch())
    print(json.dumps(best))
"""


def test_children_of_a_program_share_its_store(machine: Machine) -> None:
    command = (sys.executable, "-m", "tuneonce", "run", "--", sys.executable)
    done = machine.start(*command, machine.write("x.py", CHILDREN), env=machine.variables())
    assert len(set(last_json(done.stdout))) == 1
    # Said once, of all of them, by the process that the run began with.
    assert done.stderr.startswith("tuneonce: 3 hits, 1 tunes (")
    assert done.stderr.endswith(" s saved, in 4 processes\n")
    assert len(done.stderr.splitlines()) == 1
    totals = machine.totals()
    assert outcome(totals) == (1, 3, 3)
    assert totals.processes == 4
    assert totals.problems == {}


# -- the .pth of an installation -----------------------------------------------------------------


@pytest.fixture(scope="module")
def make_installation(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], str]:
    """Makes environments with tuneonce and its ``.pth``, with or without this one's packages."""
    made: dict[bool, str] = {}

    def make(with_triton: bool) -> str:
        if with_triton not in made:
            home = tmp_path_factory.mktemp("installation") / "env"
            venv.create(home, with_pip=False, symlinks=True)
            [site] = home.glob("lib/python3*/site-packages")
            shutil.copy(ROOT / "src" / "tuneonce.pth", site)
            packages = [str(ROOT / "src")]
            if with_triton:
                packages += [str(Path(m.__path__[0]).parent) for m in (triton, msgspec)]
            (site / "paths.pth").write_text("\n".join(packages))
            made[with_triton] = str(home / "bin" / "python")
        return made[with_triton]

    return make


@pytest.fixture
def installed(machine: Machine, make_installation: Callable[[bool], str]) -> Machine:
    """A machine whose Python has tuneonce as ``pip install`` leaves it."""
    return dataclasses.replace(
        machine, python=make_installation(True), environment={"PYTHONPATH": str(machine.home)}
    )


@pytest.mark.parametrize("program", [FIRST, LAST], ids=["first", "last"])
def test_the_pth_switches_on(installed: Machine, program: str) -> None:
    for hits in range(2):
        assert installed.run(program, TUNEONCE="1")["installed"]
        assert outcome(installed.totals()) == (1, 3, hits)


@pytest.mark.parametrize("word", [None, "", "0"])
def test_the_pth_imports_nothing_when_off(installed: Machine, word: str | None) -> None:
    said = installed.run("import sys, json\nprint(json.dumps(sorted(sys.modules)))", TUNEONCE=word)
    assert not [name for name in said if name.startswith("tuneonce")]


def test_both_ways_in_at_once(installed: Machine) -> None:
    assert installed.tuneonce_run(FIRST)["installed"]
    assert outcome(installed.totals()) == (1, 3, 0)


def test_the_pth_covers_children(installed: Machine) -> None:
    assert len(set(installed.run(CHILDREN, TUNEONCE="1"))) == 1
    assert outcome(installed.totals()) == (1, 3, 3)


def test_without_triton_the_program_runs(
    machine: Machine, make_installation: Callable[[bool], str]
) -> None:
    program = (
        "try:\n    import triton\nexcept ImportError as error:\n    best = error.name\n" + TELL
    )
    bare = dataclasses.replace(machine, python=make_installation(False), environment={})
    expected = {"installed": True, "triton": False, "msgspec": False, "best": "triton"}
    assert bare.run(program, TUNEONCE="1", PYTHONPATH="") == expected


def test_a_triton_that_may_not_be_imported(installed: Machine) -> None:
    program = (
        "import sys\nsys.modules['triton'] = None\n"
        "try:\n    import triton\nexcept ImportError as error:\n    best = type(error).__name__\n"
    )
    said = installed.run(program + TELL, TUNEONCE="1")
    assert (said["installed"], said["best"]) == (True, "ModuleNotFoundError")


def test_a_triton_that_breaks_while_it_is_imported_can_be_imported_again(
    installed: Machine,
) -> None:
    program = """
    import sys
    sys.modules["triton.knobs"] = None
    try:
        import triton.runtime.autotuner
    except ImportError:
        pass
    for name in [name for name in sys.modules if name.partition(".")[0] == "triton"]:
        del sys.modules[name]
    import little
    best = little.launch()
    """
    assert installed.run(textwrap.dedent(program) + TELL, TUNEONCE="1")["best"]
    assert outcome(installed.totals()) == (1, 3, 0)


@pytest.mark.parametrize("store", ["nosuch://host", "file://host/path", "~nobody-here/x"])
def test_a_store_that_cannot_mean_anything(installed: Machine, store: str) -> None:
    x = installed.write("x.py", FIRST)
    variables = installed.variables(TUNEONCE="1", TUNEONCE_STORE=store, TUNEONCE_RAISE=None)
    done = installed.start(installed.python, x, env=variables)
    assert last_json(done.stdout)["best"]
    assert len(done.stderr.splitlines()) == 1
    assert "tuneonce: stays off" in done.stderr


@pytest.mark.parametrize("program", [FIRST, NEVER], ids=["triton", "no triton"])
def test_a_word_that_is_none(installed: Machine, program: str) -> None:
    x = installed.write("x.py", program)
    done = installed.start(installed.python, x, env=installed.variables(TUNEONCE="nonsense"))
    [line] = done.stderr.splitlines()
    assert "TUNEONCE" in line
    assert "nonsense" in line
    assert not last_json(done.stdout)["installed"]
    assert not installed.triton_cache.exists()


def test_a_python_without_tuneonce_is_told_once(
    machine: Machine, make_installation: Callable[[bool], str]
) -> None:
    x = machine.write("x.py", "print('[]')")
    variables = child_environment(machine.variables(PYTHONPATH=None))
    isolated = venv_without_anything(machine.home)
    done = machine.start(isolated, x, env=variables)
    assert last_json(done.stdout) == []
    [line] = done.stderr.splitlines()
    assert line.startswith("tuneonce: not activated")


def venv_without_anything(home: Path) -> Path:
    venv.create(home / "bare", with_pip=False, symlinks=True)
    return home / "bare" / "bin" / "python"


# -- off is stock --------------------------------------------------------------------------------

FINGERPRINT = """
import hashlib, json, os, sys

def one(value):
    code = getattr(value, "__code__", None)
    if code is None:
        return type(value).__name__
    where = [value.__module__, value.__qualname__, code.co_filename, code.co_firstlineno]
    return [*where, hashlib.sha256(code.co_code).hexdigest(), bool(value.__closure__)]

def fingerprint(cls):
    return {name: one(value) for name, value in sorted(vars(cls).items())}

import little
from triton import knobs
from triton.runtime import autotuner, jit, interpreter
best = little.launch()
print(json.dumps({
    "best": best,
    "autotuner": fingerprint(autotuner.Autotuner),
    "heuristics": fingerprint(autotuner.Heuristics),
    "jit": fingerprint(jit.JITFunction),
    "interpreter": fingerprint(interpreter.InterpretedFunction),
    "instance": sorted(vars(little.kernel)),
    "listener": repr(knobs.compilation.listener),
    "hooks": [repr(knobs.runtime.jit_post_compile_hook), repr(knobs.runtime.jit_cache_hook)],
    "finders": [getattr(f, "__name__", type(f).__name__) for f in sys.meta_path],
    "loaders": [type(m.__spec__.loader).__name__ for n, m in sorted(sys.modules.items())
                if n.startswith("triton") and getattr(m, "__spec__", None)],
    "environment": os.environ.get("TRITON_CACHE_AUTOTUNING"),
    "store": os.environ.get("TUNEONCE_STORE"),
    "cache_results": little.kernel.cache_results,
}))
"""
WITH_INSTALL = "import tuneonce\nassert tuneonce.install() is False\nassert not " \
    "tuneonce.is_installed()\n" + FINGERPRINT  # fmt: skip


@pytest.mark.parametrize("interpret", ["0", "1"], ids=["compiled", "interpreted"])
@pytest.mark.parametrize(
    "off", [{"TUNEONCE": "0"}, {"TUNEONCE": "1", "TRITON_CACHE_AUTOTUNING": "0"}], ids=str
)
def test_off_is_stock(installed: Machine, off: dict[str, str], interpret: str) -> None:
    program = FINGERPRINT
    if interpret == "0":  # no device to launch on
        program = program.replace("little.launch()", "None")
    switch = off.get("TRITON_CACHE_AUTOTUNING")
    bare = {"TRITON_INTERPRET": interpret, "TRITON_CACHE_AUTOTUNING": switch}
    stock = installed.run(program, **bare, TUNEONCE=None)
    assert stock["autotuner"]["run"][0] == "triton.runtime.autotuner"
    both = {**bare, **off}
    assert installed.run(program, **both) == stock
    assert installed.tuneonce_run(program, **both) == stock
    called = WITH_INSTALL if interpret == "1" else WITH_INSTALL.replace("little.launch()", "None")
    assert installed.run(called, **both) == stock
    assert not installed.store.exists()


def test_observing_changes_no_launch(installed: Machine) -> None:
    stock = installed.run(FINGERPRINT)
    observed = installed.run(FINGERPRINT, TUNEONCE="observe")
    for part in ("best", "jit", "environment", "store", "cache_results", "finders"):
        assert observed[part] == stock[part]
    assert observed["autotuner"]["run"] == stock["autotuner"]["run"]
    totals = installed.totals()
    assert (totals.tunes, totals.candidates_measured, totals.hits) == (1, 3, 0)
    assert not installed.store.exists()


# -- install and uninstall -----------------------------------------------------------------------

SNAPSHOT = """
import json, os, sys
import tuneonce

def snapshot():
    cls = sys.modules["triton.runtime.autotuner"].Autotuner
    knobs = sys.modules["triton.knobs"]
    return {
        "class": dict(vars(cls)),
        "listener": knobs.compilation.listener,
        "environment": dict(os.environ),
        "finders": list(sys.meta_path),
    }

def changed(before, after):
    names = {*before, *after}
    return sorted(name for name in names if before.get(name) is not after.get(name)
                  and before.get(name) != after.get(name))
"""


def test_install_after_triton_and_its_kernels_and_uninstall(machine: Machine) -> None:
    program = (
        SNAPSHOT
        + """
import little
from triton import knobs
def theirs(**call): pass
knobs.compilation.listener = theirs
before = snapshot()
answers = [tuneonce.install(), tuneonce.is_installed()]
on = snapshot()
answers.append(tuneonce.install())
again = snapshot()
best = little.launch()
tuneonce.uninstall()
off = snapshot()
answers.append(tuneonce.is_installed())
tuneonce.uninstall()
print(json.dumps({
    "answers": answers,
    "on": [changed(before["class"], on["class"]),
           changed(before["environment"], on["environment"]),
           on["finders"] == before["finders"], on["listener"] is theirs],
    "again": on == again,
    "off": off == before and off["class"]["run"] is before["class"]["run"]
           and off["listener"] is theirs,
    "later": snapshot() == before,
}))
"""
    )
    assert machine.run(program) == {
        "answers": [True, True, True, False],
        "on": [["run"], ["TUNEONCE_START", "TUNEONCE_TRITON_CACHE_DIR"], True, False],
        "again": True,
        "off": True,
        "later": True,
    }
    assert outcome(machine.totals()) == (1, 3, 0)


def test_install_before_triton_and_uninstall(machine: Machine) -> None:
    program = (
        SNAPSHOT
        + """
finders, environment = list(sys.meta_path), dict(os.environ)
tuneonce.install()
tuneonce.install()
added = len(sys.meta_path) - len(finders)
import little
from triton import knobs
gone = sys.meta_path == finders
best = little.launch()
hooked = little.kernel.run.__func__.__module__
tuneonce.uninstall()
run = vars(sys.modules["triton.runtime.autotuner"].Autotuner)["run"]
spec = sys.modules["triton.runtime.autotuner"].__spec__
print(json.dumps([added, gone, hooked, run.__module__, run.__qualname__, sys.meta_path == finders,
                  dict(os.environ) == environment, knobs.compilation.listener,
                  type(spec.loader).__name__,
                  type(sys.modules["triton.runtime.autotuner"].__loader__).__name__]))
"""
    )
    assert machine.run(program) == [
        1, True, "tuneonce.triton.launch.hook", "triton.runtime.autotuner", "Autotuner.run",
        True, True, None, "SourceFileLoader", "SourceFileLoader",
    ]  # fmt: skip


def test_install_and_uninstall_without_triton(machine: Machine) -> None:
    program = """
    import json, os, sys
    import tuneonce
    before = (list(sys.meta_path), dict(os.environ))
    tuneonce.install()
    tuneonce.uninstall()
    print(json.dumps([(list(sys.meta_path), dict(os.environ)) == before, "triton" in sys.modules]))
    """
    assert machine.run(program) == [True, False]


OWN_BENCH = """
import triton, triton.language as tl

def bench(call, quantiles):
    call()
    return [1.0, 1.0, 1.0]

@triton.autotune([triton.Config({"B": b}) for b in (16, 32)], key=["n"], do_bench=bench)
@triton.jit
def kernel(n, B: tl.constexpr):
    tl.program_id(0) * B + n
"""


@pytest.mark.parametrize("mode", ["0", "1"])
def test_who_interprets_without_torch_stays_without(machine: Machine, mode: str) -> None:
    machine.write("own.py", OWN_BENCH)
    program = """
    import json, sys, tuneonce
    tuneonce.install()
    import own
    own.kernel[(1,)](1)
    print(json.dumps([str(own.kernel.best_config).partition(",")[0], "torch" in sys.modules]))
    """
    assert machine.run(program, TUNEONCE=mode) == ["B: 16", False]
    assert machine.totals().tunes == int(mode)


def test_uninstalled_before_triton_comes(machine: Machine) -> None:
    program = "import tuneonce\ntuneonce.install()\ntuneonce.uninstall()\n" + FINGERPRINT
    assert machine.run(program) == machine.run(FINGERPRINT)


def test_uninstalled_and_installed_again(machine: Machine) -> None:
    program = """
    import json, little, tuneonce
    tuneonce.install()
    one = little.launch(1)
    tuneonce.uninstall()
    little.launch(2)
    tuneonce.install()
    print(json.dumps([little.launch(1) == one, little.launch(3) == one]))
    """
    assert machine.run(program) == [True, True]
    assert outcome(machine.totals()) == (2, 6, 0)


def test_a_kernel_that_was_tuned_before_is_left_as_it_is(machine: Machine) -> None:
    program = """
    import json, little, tuneonce
    one = little.launch()
    tuneonce.install()
    print(json.dumps([little.launch() == one]))
    """
    assert machine.run(program) == [True]
    assert outcome(machine.totals()) == (0, 0, 0)


def test_the_programs_own_setting_stays_when_uninstalled(machine: Machine) -> None:
    program = """
    import json, os, tuneonce
    tuneonce.install()
    os.environ["TRITON_CACHE_AUTOTUNING"] = "0"
    tuneonce.uninstall()
    left = [name for name in os.environ if name.startswith("TUNEONCE")]
    print(json.dumps([os.environ.get("TRITON_CACHE_AUTOTUNING"), left]))
    """
    assert machine.run(program, TUNEONCE_RAISE=None) == ["0", []]


# -- others at the same class --------------------------------------------------------------------

FORCE_FIRST = """
import triton.runtime.autotuner as autotuner
STOCK = autotuner.Autotuner.run
calls = []

def run(self, *args, **kwargs):
    calls.append(self)
    config = self.configs[0]
    self.best_config = config
    return self.fn.run(*args, **kwargs, **config.all_kwargs())
"""


@pytest.mark.parametrize(
    "patch",
    [
        "autotuner.Autotuner.run = run",
        "autotuner.Autotuner.run = functools.wraps(STOCK)(run)",
        "autotuner.Autotuner.run = functools.partialmethod(run)",
    ],
    ids=["plain", "wrapped", "partial"],
)
def test_stepping_aside_for_who_came_first(machine: Machine, patch: str) -> None:
    program = f"""
import functools, json, little, tuneonce
{FORCE_FIRST}
{patch}
theirs = vars(autotuner.Autotuner)["run"]
tuneonce.install()
kept = [vars(autotuner.Autotuner)["run"] is theirs, little.launch(), len(calls)]
tuneonce.uninstall()
print(json.dumps([*kept, vars(autotuner.Autotuner)["run"] is theirs]))
"""
    x = machine.write("x.py", program)
    done = machine.start(sys.executable, x, env=machine.variables())
    kept, best, calls, still = last_json(done.stdout)
    assert (kept, calls, still) == (True, 1, True)
    assert best.startswith("B: 16")
    [line] = done.stderr.splitlines()
    assert "stepping aside" in line
    assert machine.totals().problems == {"stepped_aside": 1}
    assert outcome(machine.totals()) == (0, 0, 0)


def test_whoever_comes_later_stays(machine: Machine) -> None:
    program = f"""
import json, tuneonce
tuneonce.install()
import little
{FORCE_FIRST}
autotuner.Autotuner.run = run
kept = [little.launch(), len(calls)]
tuneonce.uninstall()
print(json.dumps([*kept, vars(autotuner.Autotuner)["run"] is run]))
"""
    best, calls, still = machine.run(program)
    assert (calls, still) == (1, True)
    assert best.startswith("B: 16")
    assert outcome(machine.totals()) == (0, 0, 0)


def test_a_listener_that_wraps_ours_stays(machine: Machine) -> None:
    program = """
    import json, little, tuneonce
    from triton import knobs
    tuneonce.install()
    ours = knobs.compilation.listener
    def theirs(**call):
        return ours(**call)
    knobs.compilation.listener = theirs
    tuneonce.uninstall()
    print(json.dumps([knobs.compilation.listener is theirs]))
    """
    assert machine.run(program) == [True]


def test_a_subclass_that_calls_ours(machine: Machine) -> None:
    program = """
    import json, tuneonce
    import triton.runtime.autotuner as autotuner
    class Cached(autotuner.Autotuner):
        calls = 0
        def run(self, *args, **kwargs):
            type(self).calls += 1
            return super().run(*args, **kwargs)
    autotuner.Autotuner = Cached
    import little
    tuneonce.install()
    print(json.dumps([little.launch(), little.launch(), type(little.kernel).calls]))
    """
    x = machine.write("x.py", program)
    done = machine.start(sys.executable, x, env=machine.variables())
    one, other, calls = last_json(done.stdout)
    assert (one, calls) == (other, 2)


def test_events_say_how_the_process_was_started(machine: Machine) -> None:
    machine.tuneonce_run(FIRST)
    started = machine.events()[0]
    assert started["mode"] == "on"
    assert started["store"] == str(machine.store)
    assert started["argv"] == [str(machine.home / "x.py")]
    assert json.dumps(started)
