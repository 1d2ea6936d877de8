"""What journals hold, as records of a store: for commands that show and remove them like others."""

from __future__ import annotations

from ..model.record_names import journal_file, measurement_file
from ..model.records import Measurement, pack
from ..resolution.journal import Journals
from ..store.base import check_name
from ..store.memory import MemoryStore


class JournalStore(MemoryStore):
    """The measurements that were there when it was made; what is removed here is removed there."""

    def __init__(self, journals: Journals) -> None:
        super().__init__()
        self._journals = journals
        self._found: dict[str, Measurement] = {}
        for below, measurement in journals.all():
            last = measurement_file(measurement.work_class, measurement.candidate)
            try:
                name = check_name(f"{below}/{last}")
                self.put(name, pack(measurement))
            except ValueError:  # a journal that is none of ours
                continue
            self._found[name] = measurement

    def delete_if(self, name: str, expected: bytes) -> bool:
        if not super().delete_if(name, expected):
            return False
        gone = self._found[name]
        return self._journals.drop(journal_file(gone.key, gone.work_class), gone.candidate)
