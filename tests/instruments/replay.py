"""A port that plays back a list of (sent, received) pairs and judges every byte."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from instruments.errors import FrameError, InstrumentError, TransportTimeout
from instruments.transport import AnswerLength, NotSent


class ReplayTransport:
    """Answer each expected command with its recorded bytes; anything else fails the test.

    ``received`` of None is a device that stays silent; ``one_at_a_time`` gives the bytes singly.
    ``b""`` as ``sent`` marks an answer that is read without sending.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[bytes, bytes | InstrumentError | None]],
        *,
        one_at_a_time: bool = False,
    ) -> None:
        self.name = "replay"
        self.generation = 0
        self.pairs = list(pairs)
        self.sent: list[bytes] = []
        self.sent_now: list[bytes] = []
        self.drains = 0
        self.no_good: list[InstrumentError] = []
        """What the driver told of answers that came and were no good."""
        self._ahead = b""
        self._step = 1 if one_at_a_time else 1 << 20
        self._buffer = b""

    def exchange(
        self, sent: bytes, answer_length: AnswerLength, *, deadline_s: float, inter_byte_s: float
    ) -> bytes:
        self._buffer = self._ahead = b""
        assert self.pairs, f"sent {sent!r} though nothing more was expected"
        expected, received = self.pairs.pop(0)
        if isinstance(received, NotSent):
            raise received
        self.sent.append(sent)
        assert sent == expected
        if isinstance(received, InstrumentError):
            raise received
        self._ahead = received or b""
        return self.read_answer(answer_length, deadline_s=deadline_s, inter_byte_s=inter_byte_s)

    def read_answer(
        self, answer_length: AnswerLength, *, deadline_s: float, inter_byte_s: float
    ) -> bytes:
        while True:
            length = answer_length(self._buffer) if self._buffer else None
            if length is not None:
                answer, self._buffer = self._buffer[:length], self._buffer[length:]
                return answer
            if not self._ahead:
                raise TransportTimeout(f"port replay: only {self._buffer!r} came")
            self._buffer += self._ahead[: self._step]
            self._ahead = self._ahead[self._step :]

    def send_now(self, data: bytes) -> None:
        self.sent_now.append(data)

    def drain(self, *, quiet_s: float, limit_s: float) -> bytes:
        gone, self._buffer, self._ahead = self._buffer + self._ahead, b"", b""
        self.drains += 1
        return gone

    @contextmanager
    def owned(self, *, urgent: bool = False) -> Iterator[None]:
        yield

    def garbled(self, trouble: InstrumentError) -> None:
        if isinstance(trouble, FrameError):
            self.no_good.append(trouble)

    def reopen(self) -> None:
        return

    def close(self) -> None:
        assert not self.pairs, f"never asked: {self.pairs}"
