"""NE-1000 pumps on one daisy-chained line.

Belongs here: who hears and who answers on a shared line. Not here: what one pump does (ne1000).
"""

from __future__ import annotations

from collections.abc import Sequence

from instruments.emulators.ne1000 import Clock, Ne1000


class Ne1000Bus:
    """Pumps on one daisy chain: all hear every byte, the addressed one answers.

    Where several answer at once their bytes collide and come out bitwise ANDed.
    """

    def __init__(self, pumps: Sequence[Ne1000], wall_s: Clock) -> None:
        self.pumps = tuple(pumps)
        self._wall_s = wall_s

    @property
    def revision(self) -> int:
        """Grows whenever the durable state of any pump has changed."""
        return sum(pump.revision for pump in self.pumps)

    def receive(self, data: bytes) -> bytes:
        """Take bytes; return what comes back over the chain."""
        answer, wall_s = bytearray(), self._wall_s()
        for byte in data:
            replies = [reply for pump in self.pumps if (reply := pump.hear(byte, wall_s))]
            answer += _collided(replies)
        return bytes(answer)

    def poll(self) -> bytes:
        """Let time act on every pump; return what they send of themselves."""
        return b"".join(pump.poll() for pump in self.pumps)

    def power_cycle(self) -> None:
        """Interrupt the power of the whole chain."""
        for pump in self.pumps:
            pump.power_cycle()


def _collided(replies: list[bytes]) -> bytes:
    if len(replies) < 2:
        return replies[0] if replies else b""
    merged = bytearray(b"\xff" * max(map(len, replies)))
    for reply in replies:
        for place, byte in enumerate(reply):
            merged[place] &= byte
    return bytes(merged)
