"""A store as another world would have left it: everything in it is true, and no verdict answers.

`age_store` copies a store and changes one part of every key: the GPU product, the compiler build
or the kernel's source. Names and digests follow, so the records stay valid and self-consistent;
they are what a server finds that was moved to other hardware or upgraded.

All files of a key's directory move together, whatever kinds there are: a record is two lines of
JSON (`tuneonce.model.records`), and what refers to the key in its body is the key's parts or their
digest, under the name ``key``.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from tuneonce.model.codec import digest
from tuneonce.model.key import Parts
from tuneonce.model.record_names import ROOT, named_folder, parts_digest
from tuneonce.model.wording import world
from tuneonce.store import open_store

CHANGES = {
    "product": "world.product",
    "compiler": "world.compiler",
    "source": "kernel.source",
}
"""What can be different, and the part of the key that says so."""


def age_store(store: Path, aged: Path, *, change: str = "product") -> int:
    """Write to `aged` the records of `store` as if `change` were another; returns how many.

    A directory without a verdict does not tell its key: what is in it is left out.
    """
    old, new = open_store(store), open_store(aged)
    folders: dict[str, list[str]] = defaultdict(list)
    for name in old.list(ROOT):
        folders[name.rpartition("/")[0]].append(name)
    written = 0
    for folder, names in sorted(folders.items()):
        records = {}
        for name in names:
            data = old.get(name)
            if data is not None:
                records[name.rpartition("/")[2]] = _parse(data)
        parts = next((p for _, body in records.values() if (p := _parts(body))), None)
        if parts is None:
            continue
        changed = _changed(parts, CHANGES[change])
        place = directory(changed)
        for last, (header, body) in records.items():
            _rename(body, folder.rpartition("/")[2], changed)
            new.put(f"{place}/{last}", _pack(header, body))
            written += 1
    return written


def directory(parts: Parts) -> str:
    """The directory of the key that has these parts (`tuneonce.model.key.Key.directory`)."""
    named = dict(parts)
    kernel = [part for part in parts if part[0].startswith("kernel.")]
    facts = world(parts)
    first = facts["backend"] if facts["product"] == "unknown" else facts["product"]
    folders = (
        named_folder(named["kernel.name"], kernel),
        named_folder(f"{first}-{facts['arch']}", facts.items()),
    )
    return f"{ROOT}{'/'.join(folders)}/{parts_digest(parts)}"


def _changed(parts: Parts, part: str) -> Parts:
    def other(value: str) -> str:
        # A digest stays one to look at; a name says what was done to it.
        return digest(value, length=16) if part == "kernel.source" else f"{value} (aged)"

    return tuple((name, other(value) if name == part else value) for name, value in parts)


def _parts(body: Any) -> Parts | None:
    key = body.get("key")
    if not isinstance(key, list):
        return None
    return tuple((str(name), str(value)) for name, value in key)


def _rename(body: Any, old_digest: str, changed: Parts) -> None:
    if _parts(body) is not None:
        body["key"] = [list(part) for part in changed]
    elif body.get("key") == old_digest:
        body["key"] = parts_digest(changed)


def _parse(data: bytes) -> tuple[dict[str, Any], Any]:
    head, _, body = data.partition(b"\n")
    return json.loads(head), json.loads(body)


def _pack(header: dict[str, Any], body: Any) -> bytes:
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
    header = {**header, "sha256": hashlib.sha256(text).hexdigest()}
    return json.dumps(header, separators=(",", ":")).encode("ascii") + b"\n" + text
