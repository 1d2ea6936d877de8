"""One code generation for all candidates that the code generator cannot tell apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler.compiler import ASTSource, make_backend

from tuneonce.triton.compile.code_texts import CodeTexts, _parsed_alone, watch
from tuneonce.triton.seams import generators
from tuneonce.triton.seams.generators import Code

TARGET = GPUTarget("cuda", 90, 32)


@triton.jit
def plain(x, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    square = x + i[:, None] * BLOCK + i
    tl.store(square, tl.dot(tl.load(square), tl.load(square)))


@triton.jit
def curious(x, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(x + i, tl.load(x + i) + tl.extra.cuda.num_warps())


@triton.jit
def picky(x, BLOCK: tl.constexpr):
    tl.static_assert(BLOCK != 32)
    tl.store(x, 1.0)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The sources whose code was really generated."""
    seen: list[Any] = []
    generate = generators.generate

    def watched(src: Any, *args: Any) -> Any:
        seen.append(src)
        return generate(src, *args)

    monkeypatch.setattr(generators, "generate", watched)
    return seen


def text(
    some: CodeTexts, kernel: Any, *, block: int = 16, target: Any = TARGET, **options: Any
) -> str:
    source = ASTSource(kernel, {"x": "*fp32", "BLOCK": "constexpr"}, {(1,): block})
    backend = make_backend(target)
    return some.code(source, target, backend.parse_options(options), backend).source


def test_a_parser_that_fails_beside_another_thread_is_asked_again() -> None:
    asked: list[int] = []

    def generate() -> Code:
        asked.append(1)
        if len(asked) < 3:
            raise SystemError("AST constructor recursion depth mismatch (before=87, after=81)")
        return Code("source", "complete")

    assert _parsed_alone(generate) == Code("source", "complete")

    def never() -> Code:
        raise SystemError("no")

    with pytest.raises(SystemError):
        _parsed_alone(never)


def test_what_only_later_stages_read_is_generated_for_once(made: list[Any]) -> None:
    some = CodeTexts()
    first = text(some, plain, num_warps=2, num_stages=1)
    assert text(some, plain, num_warps=8, num_stages=4) == first
    assert text(some, plain, maxnreg=64) == first
    assert len(made) == 1
    # As it would have been made for these very options.
    assert text(CodeTexts(), plain, num_warps=8, num_stages=4) == first
    assert len(made) == 2


def test_a_constant_makes_other_code(made: list[Any]) -> None:
    some = CodeTexts()
    assert text(some, plain, block=16) != text(some, plain, block=32)
    assert len(made) == 2


def test_an_option_that_was_read_makes_other_code(made: list[Any]) -> None:
    some = CodeTexts()
    two = text(some, curious, num_warps=2)
    eight = text(some, curious, num_warps=8)
    assert two != eight
    assert (text(some, curious, num_warps=2), text(some, curious, num_warps=8)) == (two, eight)
    assert len(made) == 2


def test_an_option_that_the_language_reads_makes_other_code(made: list[Any]) -> None:
    some = CodeTexts()
    assert "tf32" in text(some, plain, allowed_dot_input_precisions=("tf32", "ieee"))
    assert "tf32" not in text(some, plain, allowed_dot_input_precisions=("ieee",))
    assert len(made) == 2


def test_a_knob_of_the_language_makes_other_code(
    made: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    some = CodeTexts()
    assert "tf32" in text(some, plain)
    monkeypatch.setenv("TRITON_F32_DEFAULT", "ieee")
    assert "tf32" not in text(some, plain)
    monkeypatch.delenv("TRITON_F32_DEFAULT")
    assert "tf32" in text(some, plain)
    assert len(made) == 2


def test_another_target_makes_other_code(made: list[Any]) -> None:
    some = CodeTexts()
    text(some, plain)
    text(some, plain, target=GPUTarget("cuda", 80, 32))
    assert len(made) == 2


def test_what_does_not_compile_is_told_each_time() -> None:
    some = CodeTexts()
    for _ in range(2):
        with pytest.raises(triton.compiler.errors.CompileTimeAssertionFailure):
            text(some, picky, block=32)
    assert text(some, picky, block=64)


@dataclass(frozen=True)
class Options:
    one: int = 1
    two: int = 2

    def both(self) -> int:
        return self.one + self.two


def test_every_way_of_reading_is_seen() -> None:
    def names(read: Any) -> set[str]:
        watched, found = watch(Options())
        assert isinstance(watched, Options)
        assert not found - {"__class__"}
        read(watched)
        return found - {"__class__"}

    assert names(lambda options: options.one) == {"one"}
    assert names(lambda options: getattr(options, "three", None)) == {"three"}
    assert names(lambda options: options.both()) == {"both", "one", "two"}
    assert "__dict__" in names(vars)
