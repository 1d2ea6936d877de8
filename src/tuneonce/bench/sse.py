"""Server-sent events from bytes that arrive in any pieces.

Follows the event stream format of the HTML standard
(https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream): lines end
with LF, CR or CRLF, a line that starts with a colon is a comment, ``data`` lines of one event are
joined by LF, an empty line ends the event. Event names, ids and retry times are skipped, since
completion servers do not use them.
"""

from __future__ import annotations

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventStream:
    """Decodes one response body. The same bytes give the same events however they are cut."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._after_cr = False
        self._first_line = True

    def feed(self, chunk: bytes) -> list[str]:
        """Take the next bytes and return the data of every event that they complete."""
        if self._after_cr and chunk.startswith(b"\n"):
            # The second half of a CRLF whose first half ended the chunk before.
            chunk = chunk[1:]
            self._after_cr = False
        if not chunk:
            return []
        self._after_cr = chunk.endswith(b"\r")
        # bytes.splitlines, unlike str.splitlines, splits at LF, CR and CRLF only.
        lines = (self._rest + chunk).splitlines(keepends=True)
        self._rest = b"" if lines[-1].endswith((b"\n", b"\r")) else lines.pop()
        events = []
        for line in lines:
            event = self._line(line.rstrip(b"\r\n"))
            if event is not None:
                events.append(event)
        return events

    def close(self) -> list[str]:
        """Return the data of a last event that no empty line ended.

        The standard discards it, but servers exist that omit the empty line after ``[DONE]``.
        """
        rest, self._rest = self._rest, b""
        events = [self._line(rest), self._line(b"")] if rest else [self._line(b"")]
        return [event for event in events if event is not None]

    def _line(self, line: bytes) -> str | None:
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            data, self._data = self._data, []
            return b"\n".join(data).decode("utf-8", errors="replace") if data else None
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
        return None
