"""The management library, as a stand-in answers."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from tuneonce.triton.kernel import nvml


class Library:
    """A library with one whole GPU, "GPU-1234". Functions take what ctypes passes."""

    reasons = 0x1
    known = b"GPU-1234"

    def nvmlDeviceGetHandleByUUID(self, name: bytes, out: Any) -> int:
        out._obj.value = 7
        return 0 if name == self.known else 6

    def nvmlSystemGetDriverVersion(self, text: Any, size: int) -> int:
        text.value = b"580.1"
        return 0

    def nvmlDeviceGetPowerManagementLimit(self, handle: Any, out: Any) -> int:
        out._obj.value = 700_000
        return 0

    def nvmlDeviceIsMigDeviceHandle(self, handle: Any, out: Any) -> int:
        out._obj.value = 0
        return 0

    def nvmlDeviceGetClockInfo(self, handle: Any, kind: int, out: Any) -> int:
        assert isinstance(handle, ctypes.c_void_p)
        out._obj.value = {1: 1980, 2: 3201}[kind]
        return 0

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: Any, out: Any) -> int:
        out._obj.value = self.reasons
        return 0


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    made = Library()
    monkeypatch.setattr(nvml, "_library", lambda process: made)
    return made


def test_facts(library: Library) -> None:
    assert nvml.facts("1234") == {"driver": "580.1", "power_cap_w": 700, "mig": None}
    assert nvml.facts("5678") == {"driver": "580.1"}
    assert nvml.facts(None) == {}


@pytest.mark.parametrize(
    ("bits", "text"), [(0x1, "nothing"), (0x44, "power cap, thermal (hardware)"), (0, "nothing")]
)
def test_clocks(library: Library, bits: int, text: str) -> None:
    library.reasons = bits
    assert nvml.clocks("1234") == {
        "clock.sm_mhz": "1980",
        "clock.memory_mhz": "3201",
        "clock.limited_by": text,
    }
    assert nvml.clocks("5678") == {}


def test_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    nvml._library.cache_clear()
    assert nvml.facts("1234") == {}
    assert nvml.clocks("1234") == {}
    nvml._library.cache_clear()


@pytest.mark.parametrize(
    ("feature", "status", "expected"), [(1, 0, True), (0, 0, False), (1, 3, False)]
)
def test_confidential(
    library: Library, monkeypatch: pytest.MonkeyPatch, feature: int, status: int, expected: bool
) -> None:
    assert not nvml.is_confidential()  # a library that is older than the question

    def answer(out: Any) -> int:
        out._obj[:] = [2, feature, 0]
        return status

    monkeypatch.setattr(library, "nvmlSystemGetConfComputeState", answer, raising=False)
    assert nvml.is_confidential() is expected


def test_without_a_library_nothing_is_confidential(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "_library", lambda process: None)
    assert not nvml.is_confidential()
