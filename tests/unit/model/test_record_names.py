"""Where a record belongs."""

from __future__ import annotations

import msgspec
import pytest

from tests.factories import make_key, make_verdict
from tests.fakes import measured
from tuneonce.model.record_names import place, unpack_named
from tuneonce.model.records import BadRecord, Variants, pack


def test_a_record_answers_in_its_own_place_only() -> None:
    key = make_key()
    one = make_verdict(key, {16: (1.0,), 32: (1.0,)}, winner=16)
    loose = msgspec.structs.replace(measured(16, 1.0, work_class="c02"), key=key.digest)
    variants = Variants(
        key=list(key.parts),
        kernel="kernels:add",
        work_class="c02",
        candidates=one.candidates,
        common={},
        each={},
        recorded_at=1.0,
    )
    names = {
        key.verdict_name("c02", one.candidates): one,
        key.measurement_name("c02", loose.candidate): loose,
        key.variants_name("c02", one.candidates): variants,
    }
    for name, record in names.items():
        assert name.endswith(f"/{place(record)}")
        assert unpack_named(name, pack(record), type(record)) == record
        for other in (
            name.replace("/c02.", "/c03."),
            name.replace(key.digest, make_key(tuning={"n": 65}).digest),
            *(names.keys() - {name}),
        ):
            assert other != name
            with pytest.raises(BadRecord, match="misplaced"):
                unpack_named(other, pack(record), type(record))
