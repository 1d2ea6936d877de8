"""docs/cli.md is complete and names nothing that is not there."""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tuneonce.cli import COMMANDS

REFERENCE = Path(__file__).parents[3] / "docs" / "cli.md"

# Sections that others link to for options they share, by their anchors.
SHARED = {"#command-line", "#load-options", "#restart-options"}


@dataclass
class Section:
    """A part of the reference: what is in its heading, its tables and its links."""

    heading: str
    options: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)

    @property
    def anchor(self) -> str:
        return "#" + re.sub(r"[^\w -]", "", self.heading).strip().lower().replace(" ", "-")

    @property
    def usage(self) -> str | None:
        """What stands after ``tuneonce`` in the heading of a command."""
        found = re.fullmatch(r"`tuneonce (.+)`", self.heading)
        return found and found[1]


def sections() -> list[Section]:
    found: list[Section] = []
    for line in REFERENCE.read_text().splitlines():
        if heading := re.match(r"#+ (.+)", line):
            found.append(Section(heading[1]))
            continue
        if line.startswith("| `-"):
            found[-1].options |= set(re.findall(r"`(--[a-z-]+)", line.split(" | ")[0]))
        found[-1].links |= set(re.findall(r"\]\((#[a-z-]+)\)", line))
    return found


def parsers(
    group: argparse._SubParsersAction[argparse.ArgumentParser], *above: str
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for name, parser in group.choices.items():
        yield " ".join([*above, name]), parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                yield from parsers(action, *above, name)


@pytest.fixture(scope="module")
def commands() -> dict[str, argparse.ArgumentParser]:
    group = argparse.ArgumentParser().add_subparsers()
    for name in COMMANDS:
        importlib.import_module(f"tuneonce.cli.{name}").add_parser(group)
    return dict(parsers(group))


def documented(names: set[str]) -> dict[str, Section]:
    """The section of each command; the longest name that a heading starts with."""
    found: dict[str, Section] = {}
    for section in sections():
        if section.usage is not None:
            fitting = [n for n in names if f"{section.usage} ".startswith(f"{n} ")]
            assert fitting, f"{section.heading} is no command"
            name = max(fitting, key=len)
            assert name not in found, f"{name} is there twice"
            found[name] = section
    return found


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    return {
        option
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--") and option != "--help"
    }


def test_every_command_has_a_section(commands: dict[str, argparse.ArgumentParser]) -> None:
    assert set(documented(set(commands))) == set(commands)


def test_every_option_is_in_its_section_and_no_other(
    commands: dict[str, argparse.ArgumentParser],
) -> None:
    shared = {s.anchor: s.options for s in sections() if s.anchor in SHARED}
    assert set(shared) == SHARED
    assert all(shared.values())
    for name, section in documented(set(commands)).items():
        told = section.options.union(*(shared[link] for link in section.links & SHARED))
        assert told == options_of(commands[name]), name


def test_every_argument_is_in_its_heading(commands: dict[str, argparse.ArgumentParser]) -> None:
    for name, section in documented(set(commands)).items():
        for action in commands[name]._actions:
            if action.option_strings or isinstance(action, argparse._SubParsersAction):
                continue
            argument = str(action.metavar or action.dest.replace("_", " "))
            if action.nargs == "?":
                argument = f"[{argument}]"
            assert argument.lower() in (section.usage or "").lower(), name


def test_every_option_has_a_sentence(commands: dict[str, argparse.ArgumentParser]) -> None:
    for name in (
        "tune",
        "bits",
        "bench regret",
        "ls",
        "show",
        "why",
        "stats",
        "verify",
        "freeze",
        "rm",
        "gc",
        "env",
        "doctor",
    ):
        for action in commands[name]._actions:
            assert action.help, (name, action.dest)
