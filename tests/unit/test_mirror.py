"""Tests lie as the source does: each file of `tests/unit` has a module, each module has its tests.

`tests/unit/<folder>/test_<name>.py` tests `src/tuneonce/<folder>/<name>.py` (underscores around a
name are left out: `_atomic`, `__init__`). What compiles, needs processes or is one contract of many
is in the other folders, in a file that begins with the same name. What is tested where its name
does not say so is in `ELSEWHERE`, which should get shorter.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
SOURCE = ROOT / "src/tuneonce"
# Folders of tests/unit whose modules are elsewhere than in the package.
OTHER_SOURCES = {"benchmarks": ROOT / "benchmarks"}

# Files of tests/unit that test no module of this name, and what they test.
ACROSS = {
    "cli/test_reference.py": "docs/cli.md, against all commands",
    "examples/test_manifests.py": "examples/, by the tools that read such files",
    "test_api.py": "the public names, and the page about them",
    "test_environments.py": "scripts/setup_env.sh and the Makefile",
    "test_imports.py": "what importing the package loads",
    "test_layers.py": "which module may import which",
    "test_mirror.py": "where tests are",
    "test_packaging.py": "what an installation puts on a disk",
    "test_readme.py": "README.md",
    "test_seams.py": "that what is private in Triton is named in the seams only",
    "triton/seams/test_probes.py": "all seams by their probes, on versions that lack something",
}

# Modules whose tests their names do not lead to, and where these are: a file or a folder of tests.
# A line that ends with a slash stands for all modules of a folder that have no tests of their own.
ELSEWHERE = {
    "_autoload.py": "processes/test_activation.py",
    "_bootstrap/sitecustomize.py": "processes/test_activation.py",
    "activation/install.py": "processes/test_activation.py",
    "activation/parts.py": "processes/test_activation.py",
    "bench/process.py": "processes/test_bench_server.py",
    "bench/restart.py": "processes/test_bench_restart.py",
    "bench/sockets.py": "unit/bench/test_ports.py",
    "cli/_bench_options.py": "unit/cli/test_bench.py",
    "cli/_bench_progress.py": "processes/test_bench_restart.py",
    "cli/_bench_regret.py": "processes/test_workloads.py",
    "cli/_bench_view.py": "unit/bench/test_table.py",
    "cli/_checks.py": "unit/cli/test_doctor.py",
    "cli/_confirm.py": "unit/cli/test_rm.py",
    "cli/_environment.py": "unit/cli/test_env.py",
    "cli/_workload.py": "processes/test_workloads.py",
    "demo/__main__.py": "processes/test_demo_server.py",
    "demo/engine.py": "unit/demo/test_server.py",
    "demo/kernels/__init__.py": "kernels/demo/test_demo_kernels.py",
    "demo/kernels/dense.py": "kernels/demo/test_demo_kernels.py",
    "demo/kernels/gla.py": "kernels/demo/test_demo_kernels.py",
    "demo/presets.py": "unit/demo/test_model.py",
    "demo/reference.py": "unit/demo/test_model.py",
    "cli/pull.py": "unit/cli/test_exchange.py",
    "cli/push.py": "unit/cli/test_exchange.py",
    "replica/base.py": "contract/test_replica_contract.py",
    "replica/channel.py": "unit/replica/test_link.py",
    "replica/in_files.py": "contract/test_replica_contract.py",
    "replica/in_memory.py": "contract/test_replica_contract.py",
    "replica/in_objects.py": "contract/test_replica_contract.py",
    "replica/in_packs.py": "contract/test_replica_contract.py",
    "replica/in_redis.py": "contract/test_replica_contract.py",
    "replica/pack_claims.py": "contract/test_replica_contract.py",
    "replica/readonly.py": "contract/test_replica_contract.py",
    "replica/space.py": "contract/test_replica_contract.py",
    "replica/wishes.py": "unit/replica/test_service.py",
    "replay/live_kernels.py": "kernels/replay/test_warm_up.py",
    "store/_atomic.py": "unit/store/test_files.py",
    "store/_below.py": "faults/test_file_store_links.py",
    "store/base.py": "contract/test_store_contract.py",
    "store/memory.py": "contract/test_store_contract.py",
    "store/readonly.py": "contract/test_store_contract.py",
    "system/file_modes.py": "faults/test_file_store_places.py",
    "system/interpreter.py": "kernels/compile/test_compile_failures.py",
    "system/ranks.py": "kernels/measure/test_ranks.py",
    "testing/": "kernels/testing/test_simulated_gpu.py",
    "tuning/terms.py": "unit/tuning/test_exploration.py",
    "triton/compile/compilations.py": "kernels/compile",
    "triton/compile/compile_errors.py": "kernels/compile/test_compile_failures.py",
    "triton/compile/helper_process.py": "processes/test_compile_leftovers.py",
    "triton/compile/preparation.py": "kernels/compile",
    "triton/compile/shipment.py": "kernels/compile/test_compile_binaries.py",
    "triton/compile/staging.py": "kernels/compile/test_compile_binaries.py",
    "triton/compile/supply.py": "kernels/launch/test_exploration.py",
    "triton/compile/worker/compile_job.py": "kernels/compile/test_compile_failures.py",
    "triton/compile/worker/job_slots.py": "kernels/compile/test_compile_pool.py",
    "triton/compile/workers.py": "kernels/compile",
    "triton/kernel/autotuner_state.py": "kernels/equivalence",
    "triton/kernel/call.py": "kernels/equivalence",
    "triton/kernel/device_facts.py": "kernels/launch/test_world_now.py",
    "triton/kernel/known_winners.py": "kernels/equivalence",
    "triton/kernel/session.py": "kernels/equivalence",
    "triton/kernel/wrappers.py": "kernels/launch/test_third_party_seams.py",
    "triton/launch/": "kernels/launch",
    "triton/measure/benchmark.py": "kernels/measure/test_ranks.py",
    "triton/measure/tuner.py": "kernels/measure",
    "triton/seams/": "unit/triton/seams/test_probes.py",
}


def short(path: Path) -> str:
    return path.stem.strip("_")


def has_code(module: Path) -> bool:
    """Whether a module defines more than names of constants, exceptions and a docstring."""
    return any(
        not isinstance(node, (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign))
        and not (isinstance(node, ast.ClassDef) and all(isinstance(n, ast.Expr) for n in node.body))
        for node in ast.parse(module.read_text()).body
    )


def without_a_module(tests: Path, source: Path) -> set[str]:
    """Files of tests/unit that no module is obviously tested by."""
    found = set()
    for test in (tests / "unit").rglob("test_*.py"):
        place = test.relative_to(tests / "unit")
        folder = OTHER_SOURCES.get(place.parts[0], source / place.parent)
        if test.stem.removeprefix("test_") not in map(short, folder.glob("*.py")):
            found.add(place.as_posix())
    return found


def without_tests(tests: Path, source: Path) -> set[str]:
    """Modules that no file of tests has the name of."""
    found = set()
    for module in source.rglob("*.py"):
        place = module.relative_to(source)
        name = f"test_{short(module)}"
        below = [tests / "kernels" / place.parent.name, tests / "kernels" / place.parts[0]]
        folders = [*below, *(tests / one for one in ("processes", "faults", "contract"))]
        beginning = [*(path.stem for folder in folders for path in folder.glob(f"{name}*.py"))]
        named = any(f"{stem}_".startswith(f"{name}_") for stem in beginning)
        own = (tests / "unit" / place.parent / f"{name}.py").exists()
        if not own and not named and has_code(module):
            found.add(place.as_posix())
    return found


def listed(module: str) -> str | None:
    """The line of `ELSEWHERE` for a module."""
    folders = [f"{folder.as_posix()}/" for folder in Path(module).parents]
    return next((line for line in (module, *folders) if line in ELSEWHERE), None)


def test_each_file_of_unit_tests_has_a_module() -> None:
    assert without_a_module(TESTS, SOURCE) - ACROSS.keys() == set()


def test_what_is_tested_across_modules_is_there_and_has_no_module() -> None:
    assert ACROSS.keys() - without_a_module(TESTS, SOURCE) == set()


def test_each_module_has_tests_where_its_name_says_or_the_table_does() -> None:
    assert {module for module in without_tests(TESTS, SOURCE) if listed(module) is None} == set()


def test_the_table_names_no_module_that_has_tests_of_its_own_by_now() -> None:
    needed = {listed(module) for module in without_tests(TESTS, SOURCE)}
    assert ELSEWHERE.keys() - needed == set()


def test_the_table_names_tests_that_are_there() -> None:
    assert {place for place in ELSEWHERE.values() if not (TESTS / place).exists()} == set()


def test_a_file_and_a_module_that_are_alone_are_found(tmp_path: Path) -> None:
    tests, source = tmp_path / "tests", tmp_path / "source"
    for path, text in {
        tests / "unit/store/test_files.py": "",
        tests / "unit/store/test_file.py": "",
        tests / "unit/test_store.py": "",
        tests / "kernels/launch/test_hook_twice.py": "",
        tests / "processes/test_hooked.py": "",
        source / "store/files.py": "def f(): ...",
        source / "store/_atomic.py": "def f(): ...",
        source / "store/__init__.py": '"""Words."""\nfrom .files import f\nX = 1',
        source / "triton/launch/hook.py": "def f(): ...",
        source / "triton/launch/hooks.py": "class C:\n    x = 1",
        source / "errors.py": 'class E(Exception):\n    """Words."""',
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert without_a_module(tests, source) == {"store/test_file.py", "test_store.py"}
    assert without_tests(tests, source) == {"store/_atomic.py", "triton/launch/hooks.py"}
