"""A file imports only from its own layer and earlier ones; this test is where the order stands.

To add a module, add its name to `LAYERS`. A package stands for everything inside it unless one
of its modules is named by itself.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
PACKAGE = "tuneonce"
WORKER = "tuneonce.triton.compile.worker"


@dataclass(frozen=True)
class Layer:
    name: str
    modules: tuple[str, ...]
    # What is imported besides the standard library, here or in any earlier layer.
    third_party: frozenset[str] = field(default_factory=frozenset)


LAYERS = (
    Layer("facts", ("tuneonce._version", "tuneonce.errors", "tuneonce.activation.imports")),
    Layer("system", ("tuneonce.system",)),
    Layer(
        "settings",
        (
            "tuneonce.addresses",
            "tuneonce.amounts",
            "tuneonce.phase",
            "tuneonce.policies",
            "tuneonce.settings",
            "tuneonce.activation.logs",
        ),
    ),
    Layer("model", ("tuneonce.model",), third_party=frozenset({"msgspec"})),
    Layer("store", ("tuneonce.store",)),
    Layer("tuning", ("tuneonce.tuning",)),
    Layer("events", ("tuneonce.events",)),
    Layer("resolution", ("tuneonce.resolution",)),
    Layer("replica", ("tuneonce.replica",), third_party=frozenset({"redis", "obstore"})),
    Layer("inspect", ("tuneonce.inspect",)),
    Layer(
        "triton: seams",
        ("tuneonce.triton", "tuneonce.triton.seams", "tuneonce.triton.compile.worker"),
        third_party=frozenset({"torch", "triton", "numpy"}),
    ),
    Layer("triton: kernel", ("tuneonce.triton.kernel",)),
    Layer("triton: compile", ("tuneonce.triton.compile",)),
    Layer("triton: measure", ("tuneonce.triton.measure",)),
    Layer("triton: launch", ("tuneonce.triton.launch",)),
    Layer("testing", ("tuneonce.testing",)),
    Layer("replay", ("tuneonce.replay",)),
    Layer("metrics", ("tuneonce.metrics",), third_party=frozenset({"prometheus_client"})),
    Layer(
        "hosts",
        ("tuneonce.hosts", "tuneonce.bench", "tuneonce.demo"),
        third_party=frozenset({"aiohttp", "psutil", "starlette", "uvicorn", "vllm", "sglang"}),
    ),
    Layer(
        "outside",
        (
            "tuneonce",
            "tuneonce.__main__",
            "tuneonce._autoload",
            "tuneonce._bootstrap",
            "tuneonce.activation",
            "tuneonce.cli",
            "tuneonce.demo.__main__",
            "tuneonce.report",
        ),
        third_party=frozenset({"rich"}),
    ),
)

# Below this layer all code runs on a machine with neither torch nor triton: not even a function
# that is called later imports them.
FIRST_WITH_TRITON = "triton: seams"

# (importing module, imported module): why this one step against the order is right.
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("tuneonce.hosts.vllm", "tuneonce.activation.install"): (
        "The plugin is a way in, as the start-up file is: vLLM calls it to switch us on, and the "
        "import stands in the function it calls."
    ),
    ("tuneonce.hosts.sglang", "tuneonce.activation.install"): "The same, for SGLang.",
    ("tuneonce.demo.engine", "tuneonce.activation.install"): (
        "A server that says when it is ready, as the plugins do for theirs."
    ),
    ("tuneonce.metrics", "tuneonce.activation.install"): (
        "What is switched on in this process is known there alone; asked when metrics are."
    ),
    ("tuneonce.events.progress", "rich.console"): (
        "A line that is drawn while a server tunes, and rich draws it; imported where it is drawn."
    ),
    ("tuneonce.events.progress", "rich.live"): "The same.",
    ("tuneonce.events.progress", "rich.text"): "The same.",
}

GUARDS = ("TYPE_CHECKING", "typing.TYPE_CHECKING")


@dataclass(frozen=True)
class Import:
    """One import as the file has it, anywhere in the file."""

    importer: str
    target: str
    line: int
    for_annotations: bool  # below `if TYPE_CHECKING`

    @property
    def where(self) -> str:
        return f"{self.importer}:{self.line} imports {self.target}"


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def find_modules(root: Path) -> dict[str, Path]:
    return {module_name(path, root): path for path in sorted((root / PACKAGE).rglob("*.py"))}


def layer_of(module: str) -> int | None:
    """The index of the layer whose table names the module, or the nearest package around it."""
    named = {name: index for index, layer in enumerate(LAYERS) for name in layer.modules}
    if module == PACKAGE:
        return named[PACKAGE]
    while module != PACKAGE and module:
        if module in named:
            return named[module]
        module = module.rpartition(".")[0]
    # The top package does not stand for what is inside it: a new module needs its own line.
    return None


def absolute(package: str, level: int, name: str) -> str:
    """The name that `level` leading dots in a module of `package` stand for."""
    if not level:
        return name
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], *([name] if name else [])])


def imports_of(module: str, path: Path, known: set[str]) -> Iterator[Import]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    tree = ast.parse(path.read_text(), filename=str(path))
    guarded = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in GUARDS
        for statement in node.body
        for inner in ast.walk(statement)
    }

    def one(target: str, node: ast.stmt | ast.expr) -> Import:
        return Import(module, target, node.lineno, for_annotations=node in guarded)

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield one(alias.name, node)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(package, node.level, node.module or "")
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield one(inner if inner in known else base, node)
        elif isinstance(node, ast.Call) and node.args:
            # importlib.import_module("x"), import_module(".x", __package__), __import__("x")
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            name = node.args[0]
            if called not in ("import_module", "__import__") or not isinstance(name, ast.Constant):
                continue
            target = str(name.value)
            level = len(target) - len(target.lstrip("."))
            yield one(absolute(package, level, target.lstrip(".")), node)


def internal(target: str) -> bool:
    return target == PACKAGE or target.startswith(PACKAGE + ".")


def collect(root: Path) -> tuple[dict[str, Path], list[Import]]:
    modules = find_modules(root)
    return modules, [
        found for name, path in modules.items() for found in imports_of(name, path, set(modules))
    ]


def without_a_layer(modules: dict[str, Path]) -> list[str]:
    return [name for name in modules if layer_of(name) is None]


def against_the_order(imports: list[Import]) -> list[Import]:
    wrong = []
    for found in imports:
        here, there = layer_of(found.importer), layer_of(found.target)
        if not internal(found.target) or here is None or there is None:
            continue
        if there > here:
            wrong.append(found)
    return wrong


def not_allowed_third_party(imports: list[Import]) -> list[Import]:
    wrong = []
    for found in imports:
        here = layer_of(found.importer)
        top = found.target.partition(".")[0]
        if here is None or internal(found.target) or top in sys.stdlib_module_names:
            continue
        if not any(top in layer.third_party for layer in LAYERS[: here + 1]):
            wrong.append(found)
    return wrong


def cycle_among_siblings(imports: list[Import]) -> list[str] | None:
    """A cycle of files, as their names in order, or None.

    A cycle across layers is a step against the order, so only siblings need this. A part may
    name the whole it is handed in its annotations; a step against the order it may not.
    """
    graph: dict[str, set[str]] = {}
    for found in imports:
        if found.for_annotations or found.importer == found.target:
            continue
        if internal(found.target):
            graph.setdefault(found.importer, set()).add(found.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return None


def unexcused(found: list[Import]) -> list[str]:
    return [one.where for one in found if (one.importer, one.target) not in EXCEPTIONS]


@pytest.fixture(scope="module")
def source() -> tuple[dict[str, Path], list[Import]]:
    return collect(SRC)


def test_every_module_stands_in_a_layer(source: tuple[dict[str, Path], list[Import]]) -> None:
    modules, _ = source
    assert modules
    assert without_a_layer(modules) == [], "add them to LAYERS"


def test_imports_follow_the_order(source: tuple[dict[str, Path], list[Import]]) -> None:
    assert unexcused(against_the_order(source[1])) == []


def test_third_party_packages_enter_where_the_table_says(
    source: tuple[dict[str, Path], list[Import]],
) -> None:
    assert unexcused(not_allowed_third_party(source[1])) == []


def test_siblings_make_no_cycle(source: tuple[dict[str, Path], list[Import]]) -> None:
    followed = [one for one in source[1] if (one.importer, one.target) not in EXCEPTIONS]
    assert cycle_among_siblings(followed) is None


def test_every_exception_is_explained_and_used(
    source: tuple[dict[str, Path], list[Import]],
) -> None:
    seen = {(one.importer, one.target) for one in source[1]}
    assert all(reason.strip() for reason in EXCEPTIONS.values())
    assert set(EXCEPTIONS) <= seen


def test_what_is_below_triton_knows_neither_torch_nor_triton() -> None:
    names = [layer.name for layer in LAYERS]
    early = LAYERS[: names.index(FIRST_WITH_TRITON)]
    assert early[-1].name == "inspect"
    assert not {"torch", "triton"} & {name for layer in early for name in layer.third_party}


def test_the_worker_imports_the_standard_library_and_triton_only(
    source: tuple[dict[str, Path], list[Import]],
) -> None:
    # It runs by its file, in a process in which this package is not imported.
    inside = [one for one in source[1] if one.importer.startswith(WORKER + ".")]
    elsewhere = [
        one.where
        for one in inside
        if one.target != "triton"
        and not one.target.startswith("triton.")
        and one.target.partition(".")[0] not in sys.stdlib_module_names
    ]
    assert inside
    assert elsewhere == []


# The rules themselves, each on a small package that breaks one of them.


def written(root: Path, files: dict[str, str]) -> tuple[dict[str, Path], list[Import]]:
    """A package under root, of the files given by their path in it without `.py`."""
    for name, text in files.items():
        path = root / PACKAGE / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return collect(root)


def test_a_new_module_must_be_entered(tmp_path: Path) -> None:
    modules, _ = written(
        tmp_path, {"errors": "", "helpers": "", "triton/launch/hook": "", "unknown/x": ""}
    )
    assert without_a_layer(modules) == ["tuneonce.helpers", "tuneonce.unknown.x"]


@pytest.mark.parametrize(
    "text",
    [
        "import tuneonce.resolution.resolver",
        "import tuneonce.resolution.resolver as r",
        "from tuneonce.resolution import resolver",
        "from tuneonce.resolution.resolver import resolve",
        "from ..resolution import resolver",
        "from ..resolution.resolver import resolve",
        "def later():\n    from ..resolution.resolver import resolve",
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from ..resolution.resolver import resolve",
        "import importlib\nimportlib.import_module('tuneonce.resolution.resolver')",
        "from importlib import import_module\nimport_module('..resolution.resolver', __package__)",
        "__import__('tuneonce.resolution.resolver')",
    ],
)
def test_a_step_against_the_order_is_found(tmp_path: Path, text: str) -> None:
    _, imports = written(tmp_path, {"resolution/resolver": "", "store/files": text})
    wrong = against_the_order(imports)
    assert [(one.importer, one.target) for one in wrong] == [
        ("tuneonce.store.files", "tuneonce.resolution.resolver")
    ]


def test_the_facade_belongs_to_nobody_below_it(tmp_path: Path) -> None:
    _, imports = written(tmp_path, {"model/codec": "from tuneonce import __version__"})
    assert unexcused(against_the_order(imports)) == ["tuneonce.model.codec:1 imports tuneonce"]


def test_steps_along_the_order_are_free(tmp_path: Path) -> None:
    _, imports = written(
        tmp_path,
        {
            "errors": "",
            "resolution/resolver": "from ..errors import StoreError\nfrom .. import store",
            "store/__init__": "from .base import Store\nfrom . import base",
            "store/base": "from ..errors import StoreError\nimport msgspec",
            "triton/launch/hook": "import torch, triton.language\nfrom ..kernel import probe",
            "triton/kernel/probe": "import numpy\nfrom ...resolution import resolver",
        },
    )
    assert against_the_order(imports) == []
    assert not_allowed_third_party(imports) == []
    assert cycle_among_siblings(imports) is None


@pytest.mark.parametrize(
    "text",
    [
        "import torch",
        "from triton.runtime import autotuner",
        "def later():\n    import torch.cuda",
        "try:\n    import triton\nexcept ImportError:\n    pass",
        "import importlib\ndef later():\n    importlib.import_module('triton')",
    ],
)
@pytest.mark.parametrize("module", ["errors", "model/key", "store/files", "resolution/resolver"])
def test_early_layers_import_neither_torch_nor_triton(
    tmp_path: Path, module: str, text: str
) -> None:
    _, imports = written(tmp_path, {module: text})
    wrong = not_allowed_third_party(imports)
    assert {one.target.partition(".")[0] for one in wrong} <= {"torch", "triton"}
    assert len(wrong) == 1


def test_our_own_triton_package_is_not_triton(tmp_path: Path) -> None:
    _, imports = written(
        tmp_path, {"cli/env": "from ..triton.kernel import probe", "triton/kernel/probe": ""}
    )
    assert [one.target for one in imports] == ["tuneonce.triton.kernel.probe"]
    assert not_allowed_third_party(imports) == []


def test_an_undeclared_package_is_found(tmp_path: Path) -> None:
    _, imports = written(tmp_path, {"bench/load": "import aiohttp\nimport requests"})
    assert unexcused(not_allowed_third_party(imports)) == ["tuneonce.bench.load:2 imports requests"]


def test_a_cycle_among_siblings_is_found(tmp_path: Path) -> None:
    _, imports = written(
        tmp_path,
        {
            "resolution/journal": "def later():\n    from .access import read",
            "resolution/access": "from .resolver import resolve",
            "resolution/resolver": "from . import journal",
        },
    )
    assert against_the_order(imports) == []
    cycle = cycle_among_siblings(imports)
    assert cycle is not None
    assert set(cycle) == {
        f"tuneonce.resolution.{name}" for name in ("journal", "access", "resolver")
    }


def test_a_part_may_name_its_whole_in_annotations(tmp_path: Path) -> None:
    guarded = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .whole import Whole"
    _, imports = written(tmp_path, {"store/whole": "from .part import Part", "store/part": guarded})
    assert cycle_among_siblings(imports) is None
