"""What the compile helper and its parent say to each other: JSON in frames, on a socket and a pipe.

A frame is its length, four bytes, and a JSON list whose first item says what it is. Values are
plain data; a tuple, for which JSON has no word, is ``{"!tuple": [...]}``.
Loaded by the helper by path; imports nothing of ours.
"""

from __future__ import annotations

import json
import struct

# Arbitrary: the code of the largest kernels is a few megabytes.
MAX_FRAME_BYTES = 64 << 20
_LENGTH = struct.Struct("<I")
_TUPLE = "!tuple"


class BadFrame(ValueError):
    """What was read or is to be sent is no frame."""


def encode(*message):
    """A frame. Raises BadFrame for values that are not plain data of Python's own types."""
    try:
        text = json.dumps(_plain(message, 0), allow_nan=True, separators=(",", ":"))
    except (RecursionError, ValueError) as error:
        raise BadFrame(str(error)) from error
    data = text.encode("ascii")
    if len(data) > MAX_FRAME_BYTES:
        raise BadFrame(f"a frame of {len(data)} bytes")
    return _LENGTH.pack(len(data)) + data


class Reader:
    """Takes bytes as they come and gives the messages that are complete."""

    def __init__(self):
        self._buffer = bytearray()

    def feed(self, data):
        """The messages that `data` completes, lists each. Raises BadFrame."""
        self._buffer += data
        found = []
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MAX_FRAME_BYTES:
                raise BadFrame(f"a frame of {length} bytes")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                break
            found.append(_message(bytes(self._buffer[_LENGTH.size : end])))
            del self._buffer[:end]
        return found


def _message(data):
    try:
        message = json.loads(data, object_hook=_object)
    except (ValueError, RecursionError) as error:
        raise BadFrame(str(error)) from error
    if not isinstance(message, list) or not message or not isinstance(message[0], str):
        raise BadFrame("a frame holds no message")
    return message


def _object(value):
    if len(value) == 1 and _TUPLE in value:
        if not isinstance(value[_TUPLE], list):
            raise BadFrame("a tuple that is none")
        return tuple(value[_TUPLE])
    return value


def _plain(value, depth):
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if depth > 16:
        raise BadFrame("values within values without end")
    if kind is dict and all(type(name) is str and name != _TUPLE for name in value):
        return {name: _plain(item, depth + 1) for name, item in value.items()}
    if kind is list or (kind is tuple and depth == 0):
        return [_plain(item, depth + 1) for item in value]
    if kind is tuple:
        return {_TUPLE: [_plain(item, depth + 1) for item in value]}
    raise BadFrame(f"a value of type {kind.__module__}.{kind.__qualname__}")
