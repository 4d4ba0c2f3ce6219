"""What can go wrong between us and a device. Ours (a bad argument) is ValueError, before any byte is sent."""

from __future__ import annotations

from chiploop.errors import InstrumentTrouble


class InstrumentError(InstrumentTrouble):
    """Theirs: the device was silent, garbled or refused."""


class PortMissing(InstrumentError):
    """The port in lab.toml does not exist on this computer."""

    code = "CL-401"


class PortInUse(InstrumentError):
    """Another program holds the port."""

    code = "CL-402"


class TransportTimeout(InstrumentError):
    """No complete answer before the deadline."""

    code = "CL-410"


class Interrupted(TransportTimeout):
    """A stop took the port while this answer was awaited; what the device did is not known."""

    code = "CL-413"


class FrameError(InstrumentError):
    """An answer that does not follow the device's grammar."""

    code = "CL-411"


class ChecksumError(FrameError):
    """A frame whose checksum does not match its content."""

    code = "CL-412"


class DeviceRejected(InstrumentError):
    """The device understood the command and refused it."""

    code = "CL-420"


class DeviceAlarm(InstrumentError):
    """The device reports an alarm; the command that met it was not carried out."""

    code = "CL-421"

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind
        """``reset``, ``stall``, ``timeout``, ``program``, ``phase``, ``overload``."""


class SyringeDiffers(DeviceRejected):
    """The device is set for another syringe or tubing than lab.toml names; a person must look."""

    code = "CL-422"


class OutcomeUnknown(InstrumentError):
    """A command that moves liquid was sent and its answer lost; only the device's counter can tell."""

    code = "CL-430"

    def __init__(self, message: str, sent: bytes) -> None:
        super().__init__(message)
        self.sent = sent


class CounterFull(ValueError):
    """The pump's counter has no digits left to count the asked volume; it must be cleared first."""
