"""What the parsers of all commands have in common."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator

import pytest

from tuneonce.cli import COMMANDS, _Parser, main


def parsers(above: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    for action in above._actions:
        if isinstance(action, argparse._SubParsersAction):
            for parser in action.choices.values():
                yield parser
                yield from parsers(parser)


def test_no_parser_takes_abbreviations() -> None:
    top = _Parser(prog="tuneonce")
    group = top.add_subparsers()
    for name in COMMANDS:
        importlib.import_module(f"tuneonce.cli.{name}").add_parser(group)
    found = [top, *parsers(top)]
    assert {"tuneonce bench restart", "tuneonce demo serve"} < {one.prog for one in found}
    assert [one.prog for one in found if one.allow_abbrev] == []


@pytest.mark.parametrize(
    "words",
    [
        ["ls", "--js"],
        ["stats", "--la", "3"],
        ["tune", "--out", "x.json", "work.py"],
        ["bench", "restart", "--rep", "2", "--", "serve", "{port}"],
        ["demo", "serve", "--warm"],
        ["rm", "--al", "--yes"],
    ],
)
def test_an_abbreviation_is_an_unknown_option(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
