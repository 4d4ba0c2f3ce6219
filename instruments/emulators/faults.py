"""Faults on a wire between a client and an emulated device.

Belongs here: what may happen to bytes and plugs. Not here: what a device does by itself (stall,
alarms), ports. One exchange is what one read of the port brought and what the device answered.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class ByteDevice(Protocol):
    """An emulated device: bytes in, bytes out."""

    def receive(self, data: bytes) -> bytes:
        """Take bytes; return the answer."""

    def poll(self) -> bytes:
        """Let time act; return what the device sends of itself."""

    def power_cycle(self) -> None:
        """Interrupt the device's power."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, and on which exchange."""

    kind: str
    """A name in ``FAULTS``."""
    matching: bytes = b""
    """Only exchanges whose sent bytes contain this; empty matches all."""
    skip: int = 0
    """Matching exchanges that still go well."""
    times: int = 1
    """Matching exchanges that go wrong after that."""
    at_byte: int = 0
    """Byte meant by split, truncate and flips; counted round where there are fewer bytes."""
    bit: int = 0
    """Bit flipped, 0..7."""
    seconds: float = 0.0
    """How late delayed bytes come; for unplug the time until plugged in again, 0 = until told."""
    garbage: bytes = b"\x00\xfe\x7f"
    """Bytes that come before the answer."""


class FaultyWire:
    """A device behind a wire on which faults can be armed; without any it only passes bytes on."""

    def __init__(self, device: ByteDevice, wall_s: Callable[[], float]) -> None:
        self.device = device
        self._wall_s = wall_s
        self._armed: list[Fault] = []
        self._late: list[tuple[float, bytes]] = []
        self._plugged_in_at_s = -math.inf
        self._wedged = False
        self.met: Counter[str] = Counter()
        """Exchanges that went wrong, by the fault's kind, or kinds joined by +; ``unplugged`` for those behind a
        pulled plug."""

    @property
    def unplugged(self) -> bool:
        """True while nobody can reach the device."""
        return self._wall_s() < self._plugged_in_at_s

    @property
    def clean(self) -> bool:
        """True while nothing is armed, nothing hangs, and the device can be reached."""
        return not (self._armed or self._wedged or self.unplugged)

    def arm(self, fault: Fault) -> None:
        """Arm a fault; raises ValueError for one that can not happen."""
        check(fault)
        self._armed.append(fault)

    def clear(self) -> None:
        """Disarm every fault and plug the device in; bytes on their way still arrive."""
        self._armed.clear()
        self._wedged = False
        self.plug_in()

    def unplug(self, seconds: float = 0.0) -> None:
        """Pull the plug for a time, or until ``plug_in``; the device itself runs on."""
        self._plugged_in_at_s = self._wall_s() + seconds if seconds > 0 else math.inf

    def plug_in(self) -> None:
        """Put the plug back."""
        self._plugged_in_at_s = -math.inf

    def receive(self, data: bytes) -> bytes:
        """Pass bytes on to the device and its answer back, with the armed faults on the way."""
        if self.unplugged or self._wedged:
            self.met["unplugged" if self.unplugged else "wedged"] += 1
            return b""
        due = self._take_due(data)
        if due:
            self.met["+".join(sorted({fault.kind for fault in due}))] += 1
        for fault in due:
            data = FAULTS[fault.kind].to_device(self, fault, data)
        answer = self.device.receive(data) if data and not self._wedged else b""
        for fault in due:
            answer = FAULTS[fault.kind].from_device(self, fault, answer)
        return answer

    def poll(self) -> bytes:
        """Return late bytes that have become due and what the device sends of itself."""
        now_s = self._wall_s()
        late = b"".join(data for due_s, data in self._late if due_s <= now_s)
        self._late = [(due_s, data) for due_s, data in self._late if due_s > now_s]
        unasked = self.device.poll()
        return b"" if self.unplugged or self._wedged else late + unasked

    def power_cycle(self) -> None:
        """Interrupt the device's power; a wedged one speaks again."""
        self._wedged = False
        self.device.power_cycle()

    def wedge(self) -> None:
        """Let the device's link hang until its power is cycled; what it does, it goes on doing."""
        self._wedged = True

    def send_late(self, data: bytes, seconds: float) -> None:
        """Hold bytes back for a time."""
        self._late.append((self._wall_s() + seconds, data))

    def _take_due(self, data: bytes) -> list[Fault]:
        due, kept = [], []
        for fault in self._armed:
            if fault.matching not in data:
                kept.append(fault)
            elif fault.skip:
                kept.append(_with(fault, skip=fault.skip - 1))
            else:
                due.append(fault)
                if fault.times > 1:
                    kept.append(_with(fault, times=fault.times - 1))
        self._armed = kept
        return due


def check(fault: Fault) -> None:
    """Raise ValueError for a fault that can not happen."""
    if fault.kind not in FAULTS:
        raise ValueError(f"fault {fault.kind!r} is not one of {', '.join(sorted(FAULTS))}")
    if fault.times < 1 or fault.skip < 0 or not 0 <= fault.bit < 8:
        raise ValueError("a fault happens at least once, after 0 or more, on a bit 0..7")


def _with(fault: Fault, **changes: int) -> Fault:
    return Fault(**{**vars(fault), **changes})


Act = Callable[[FaultyWire, Fault, bytes], bytes]


def _pass(wire: FaultyWire, fault: Fault, data: bytes) -> bytes:
    return data


def _drop(wire: FaultyWire, fault: Fault, data: bytes) -> bytes:
    return b""


def _double(wire: FaultyWire, fault: Fault, data: bytes) -> bytes:
    return data + data


def _flip(wire: FaultyWire, fault: Fault, data: bytes) -> bytes:
    if not data:
        return data
    at = fault.at_byte % len(data)
    return data[:at] + bytes([data[at] ^ 1 << fault.bit]) + data[at + 1 :]


def _delay(wire: FaultyWire, fault: Fault, data: bytes) -> bytes:
    wire.send_late(data, fault.seconds)
    return b""


def _split(wire: FaultyWire, fault: Fault, data: bytes) -> bytes:
    at = fault.at_byte % len(data) if data else 0
    wire.send_late(data[at:], fault.seconds)
    return data[:at]


def _truncate(wire: FaultyWire, fault: Fault, data: bytes) -> bytes:
    return data[: fault.at_byte % len(data)] if data else data


def _garbage(wire: FaultyWire, fault: Fault, data: bytes) -> bytes:
    return fault.garbage + data


def _unplug(wire: FaultyWire, fault: Fault, data: bytes) -> bytes:
    wire.unplug(fault.seconds)
    return b""


def _wedge(wire: FaultyWire, fault: Fault, data: bytes) -> bytes:
    wire.wedge()
    return b""


def _power_cut(wire: FaultyWire, fault: Fault, data: bytes) -> bytes:
    wire.power_cycle()
    return b""


@dataclass(frozen=True)
class Ways:
    """What a fault does to bytes on either way."""

    to_device: Act = _pass
    from_device: Act = _pass


FAULTS: dict[str, Ways] = {
    "drop_command": Ways(to_device=_drop),
    "duplicate_command": Ways(to_device=_double),
    "flip_command_bit": Ways(to_device=_flip),
    "truncate_command": Ways(to_device=_truncate),
    "wedge_before": Ways(to_device=_wedge),
    "power_cut_before": Ways(to_device=_power_cut),
    "drop_reply": Ways(from_device=_drop),
    "delay": Ways(from_device=_delay),
    "split": Ways(from_device=_split),
    "truncate": Ways(from_device=_truncate),
    "flip_bit": Ways(from_device=_flip),
    "duplicate_reply": Ways(from_device=_double),
    "garbage_before": Ways(from_device=_garbage),
    "unplug": Ways(from_device=_unplug),
    "wedge": Ways(from_device=_wedge),
    "power_cut_after": Ways(from_device=_power_cut),
}
"""Kind -> what it does; ``_after`` comes once the command is carried out; its answer is lost."""
