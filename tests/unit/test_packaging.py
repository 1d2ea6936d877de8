"""What an installation puts on a disk, read from a wheel, an editable wheel and an sdist that are
built here, and what the start-up file does in a real interpreter."""

from __future__ import annotations

import ast
import configparser
import email
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tuneonce.cli.demo import _NEEDS

ROOT = Path(__file__).parents[2]
STARTUP = (
    'import os; os.environ.get("TUNEONCE", "0") in ("", "0") or __import__("tuneonce._autoload")\n'
)

pytest.importorskip("hatchling", reason="the build backend is in the extra `dev`")


def build(hook: str, out: Path) -> Path:
    """Call a PEP 517 hook as a front end does, in a process of its own; the file it made."""
    code = f"import sys, hatchling.build as b; print(b.{hook}(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("build_wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def editable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("build_editable", tmp_path_factory.mktemp("editable"))


def read(wheel: Path, ending: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(ending)]
        return archive.read(name).decode()


def test_wheel_holds_the_package_and_the_startup_file_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        "tuneonce",
        "tuneonce.pth",
    }
    assert "tuneonce/py.typed" in names
    sources = {path.relative_to(ROOT / "src").as_posix() for path in tracked("src/tuneonce")}
    assert sources <= set(names)
    assert not [name for name in names if "__pycache__" in name]


def tracked(folder: str) -> list[Path]:
    return [
        path
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]


def test_startup_file_is_one_line_at_the_root(wheel: Path, editable: Path) -> None:
    for built in (wheel, editable):
        with zipfile.ZipFile(built) as archive:
            assert archive.read("tuneonce.pth").decode() == STARTUP


def test_editable_install_finds_the_source_before_the_startup_file_needs_it(
    editable: Path,
) -> None:
    # site reads .pth files in the order of their names.
    with zipfile.ZipFile(editable) as archive:
        files = sorted(name for name in archive.namelist() if name.endswith(".pth"))
        assert files == ["_tuneonce.pth", "tuneonce.pth"]
        assert Path(archive.read("_tuneonce.pth").decode().strip()) == ROOT / "src"


def test_metadata(wheel: Path) -> None:
    metadata = email.message_from_string(read(wheel, ".dist-info/METADATA"))
    version = (ROOT / "src/tuneonce/_version.py").read_text()
    assert f'__version__ = "{metadata["Version"]}"' in version
    assert metadata["Name"] == "tuneonce"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.10"


def test_core_needs_two_small_packages_and_nobody_asks_for_torch_or_triton(wheel: Path) -> None:
    metadata = email.message_from_string(read(wheel, ".dist-info/METADATA"))
    core: set[str] = set()
    extras: set[str] = set()
    for requirement in metadata.get_all("Requires-Dist") or []:
        name = re.split(r"[^\w.-]", requirement)[0].lower()
        (extras if "extra ==" in requirement else core).add(name)
    assert core == {"msgspec", "rich"}
    assert not (core | extras) & {"torch", "triton", "vllm", "sglang"}
    assert set(metadata.get_all("Provides-Extra") or []) == {
        "bench",
        "demo",
        "dev",
        "metrics",
        "redis",
        "s3",
    }


def test_the_extra_demo_has_all_that_the_demo_imports(wheel: Path) -> None:
    metadata = email.message_from_string(read(wheel, ".dist-info/METADATA"))
    required: dict[str, set[str]] = {}
    for requirement in metadata.get_all("Requires-Dist") or []:
        name = re.split(r"[^\w.-]", requirement)[0].lower()
        _, _, extra = requirement.partition("extra == ")
        required.setdefault(extra.strip("'\""), set()).add(name)
    # Which the set-up installs first, or the machine has.
    modules = {name.replace("-", "_") for name in required["demo"]}
    assert set(_NEEDS) == modules | {"torch", "triton"}
    for package in ("demo", "bench", "cli"):
        imported = third_party_imports(ROOT / "src/tuneonce" / package)
        assert imported <= required[""] | set(_NEEDS), package


def third_party_imports(folder: Path) -> set[str]:
    """The top packages that the files of a folder import, anywhere in them, ours aside."""
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(str(node.module).partition(".")[0])
    return names - sys.stdlib_module_names - {"tuneonce"}


def test_entry_points(wheel: Path) -> None:
    points = configparser.ConfigParser()
    points.read_string(read(wheel, ".dist-info/entry_points.txt"))
    assert dict(points["console_scripts"]) == {"tuneonce": "tuneonce.cli:main"}
    assert dict(points["vllm.general_plugins"]) == {"tuneonce": "tuneonce.hosts.vllm:register"}
    for group in ("sglang.srt.plugins", "sglang.multimodal_gen.plugins"):
        assert dict(points[group]) == {"tuneonce": "tuneonce.hosts.sglang:register"}


def test_sdist_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(build("build_sdist", tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md"} <= names
    assert {"src/tuneonce.pth", "src/tuneonce/py.typed", "tests/conftest.py"} <= names
    assert not [name for name in names if name.startswith((".venv", ".git/", ".ci"))]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment into which the wheel was unpacked. Packages of this
    run's environment can be imported there, and nothing of theirs runs at its start."""
    root = tmp_path_factory.mktemp("installed")
    venv.create(root, with_pip=False, symlinks=True)
    (site,) = root.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    here = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (site / "zz_packages_of_this_run.pth").write_text("".join(f"{path}\n" for path in here))
    return root / "bin" / "python"


def loaded(python: Path, *, value: str | None) -> set[str]:
    """Our modules that an interpreter has loaded when it runs its first line, with TUNEONCE set
    to value. What the start prints is a failure: servers' logs are not ours."""
    env = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    if value is not None:
        env["TUNEONCE"] = value
    code = "import sys; print(*[n for n in sys.modules if n.split('.')[0] == 'tuneonce'])"
    done = subprocess.run(
        [str(python), "-c", code], env=env, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.split())


@pytest.mark.parametrize("value", [None, "", "0"])
def test_startup_file_loads_nothing_when_off(installed: Path, value: str | None) -> None:
    assert loaded(installed, value=value) == set()


@pytest.mark.parametrize("value", ["1", "observe"])
def test_startup_file_loads_us_when_on(installed: Path, value: str) -> None:
    assert "tuneonce._autoload" in loaded(installed, value=value)
