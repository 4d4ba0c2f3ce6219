"""PalmSens EmStat Pico impedance meter behind a multiplexer. Its bytes are in `methodscript`.

Belongs here: one sweep of one chip. Not here: resistance, area, blanks (assays).
Not tried on the real device. Unconfirmed, and therefore options of lab.toml: how the multiplexer is
switched (``multiplexer``) and the sign of the imaginary part (``zim_sign``); opening logs which are
assumed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import numpy as np

from chiploop.measurement import ImpedanceSpectrum
from instruments.errors import DeviceRejected, FrameError, InstrumentError
from instruments.impedance_meters.methodscript import (
    FREQUENCY,
    GPIO_VALUE,
    Z_IMAGINARY,
    Z_REAL,
    ZIM_SIGN,
    Sweep,
    Variable,
    decode_error,
    decode_stream,
    describe_status,
    line_length,
    stream_length,
    sweep_script,
    version_length,
)
from instruments.transport import Transport

FREQUENCY_SLACK: Final = 0.01
"""Relative; a frequency further off the sweep's ends belongs to another script."""

_log = logging.getLogger(__name__)


class EmStatPico:
    """Impedance meter that sweeps one of several chips; no channel switching where ``multiplexer``
    is ``none``."""

    def __init__(
        self,
        name: str,
        transport: Transport,
        *,
        channels: Mapping[str, int],
        sweep: Sweep = Sweep(),  # noqa: B008 - frozen
        multiplexer: str = "gpio",
        zim_sign: str = "as_reported",
        sweep_deadline_s: float = 180.0,
    ) -> None:
        if multiplexer not in {*GPIO_VALUE, "none"} or zim_sign not in ZIM_SIGN:
            raise ValueError(
                f"{name}: multiplexer {multiplexer!r} or zim_sign {zim_sign!r} is not offered"
            )
        if multiplexer == "none" and len(channels) > 1:
            raise ValueError(
                f"{name}: without a multiplexer it can serve one chip, not {len(channels)}"
            )
        self.name = name
        self.firmware = ""
        """First line of the version; empty before `open`."""
        self._transport = transport
        self._channels = dict(channels)
        self._sweep = sweep
        self._multiplexer = multiplexer
        self._zim_sign = zim_sign
        self._deadline_s = sweep_deadline_s
        self._stopped = self._sweeping = False

    def open(self) -> None:
        """Ask for the version and log which conventions are assumed; measures nothing."""
        answer = self._transport.exchange(b"t\n", version_length, deadline_s=3.0, inter_byte_s=1.0)
        text = answer.decode("latin-1")
        if "!" in text:
            raise decode_error(text.strip())
        if "espico" not in text.lower():
            raise FrameError(f"{self.name} calls itself {text!r}, which is not an EmStat Pico")
        self.firmware = text.removeprefix("t").split("\n")[0]
        _log.warning(
            "%s: multiplexer %r and zim_sign %r are unconfirmed; check them against a known "
            "resistor and capacitor",
            self.name,
            self._multiplexer,
            self._zim_sign,
        )

    def close(self) -> None:
        """Send nothing: every script has switched the cell off by itself."""

    def measure_spectrum(self, chip_id: str, time_h: float) -> ImpedanceSpectrum:
        """Sweep one chip; (points,) complex ohm in the order measured, with the meter's status bits
        per point.

        A point is kept with its bits where timing, overload or underload spoil it (NaN where it is
        no number), for the assay to leave out; a sweep without any good point is refused.
        ValueError for a chip without channel.
        """
        if chip_id not in self._channels:
            raise ValueError(
                f"chip {chip_id} has no channel of {self.name}; known: {', '.join(self._channels)}"
            )
        with self._transport.owned():
            self._stopped = False
            self._sweeping = True
            try:
                stream = self._transport.exchange(
                    self._script(self._channels[chip_id]),
                    stream_length,
                    deadline_s=self._deadline_s,
                    inter_byte_s=self._deadline_s,
                )
                packages = decode_stream(stream)
            except InstrumentError as trouble:
                self._abort()
                if self._stopped:
                    raise InstrumentError(
                        f"{self.name}: the sweep of {chip_id} was stopped"
                    ) from trouble
                raise type(trouble)(f"{self.name}, sweep of {chip_id}: {trouble}") from trouble
            finally:
                self._sweeping = False
            if self._stopped:
                raise InstrumentError(f"{self.name}: the sweep of {chip_id} was stopped")
        return self._spectrum(chip_id, time_h, packages)

    def stop(self) -> None:
        """Abort a running sweep, also one that another thread waits for; the script then switches
        the cell off."""
        self._stopped = True
        if self._sweeping:
            self._transport.send_now(b"Z\n")
        else:  # the answer, Z or "nothing runs", must not be met by the next script
            self._transport.exchange(b"Z\n", line_length, deadline_s=1.0, inter_byte_s=0.5)

    def _script(self, channel: int) -> bytes:
        if self._multiplexer == "none":
            return sweep_script(self._sweep, None)
        value_of = GPIO_VALUE[self._multiplexer]
        mask = (1 << max(value_of(used) for used in self._channels.values()).bit_length()) - 1
        return sweep_script(self._sweep, value_of(channel), mask or 1)

    def _abort(self) -> None:
        """Bring the meter back to rest after a stream that broke off: abort what may run, forget
        what still comes."""
        with suppress(InstrumentError):  # what is told is the trouble that led here
            self._transport.exchange(b"Z\n", line_length, deadline_s=1.0, inter_byte_s=0.5)
        with suppress(InstrumentError):
            self._transport.drain(quiet_s=0.1, limit_s=2.0)

    def _spectrum(
        self, chip_id: str, time_h: float, packages: tuple[tuple[Variable, ...], ...]
    ) -> ImpedanceSpectrum:
        where = f"{self.name}, sweep of {chip_id}"
        if len(packages) != self._sweep.points:
            raise FrameError(f"{where}: {len(packages)} points came, not {self._sweep.points}")
        points = [{variable.kind: variable for variable in package} for package in packages]
        if any(not {FREQUENCY, Z_REAL, Z_IMAGINARY} <= set(point) for point in points):
            raise FrameError(
                f"{where}: a point without frequency ({FREQUENCY}), {Z_REAL} or {Z_IMAGINARY}"
            )
        frequency_hz = np.array([point[FREQUENCY].value for point in points])
        low, high = (
            self._sweep.end_hz * (1 - FREQUENCY_SLACK),
            self._sweep.start_hz * (1 + FREQUENCY_SLACK),
        )
        if not np.all((frequency_hz >= low) & (frequency_hz <= high)):
            raise FrameError(
                f"{where}: frequencies {frequency_hz} Hz leave the sweep {low:g}..{high:g} Hz"
            )
        real_ohm = np.array([point[Z_REAL].value for point in points])
        imaginary_ohm = ZIM_SIGN[self._zim_sign] * np.array(
            [point[Z_IMAGINARY].value for point in points]
        )
        status = tuple(_status(point) for point in points)
        if all(status):
            raise DeviceRejected(f"{where}: no good point ({describe_status(status[0])})")
        if np.nansum(imaginary_ohm) > 0:
            _log.warning(
                "%s looks inductive; a chip is capacitive: check zim_sign in lab.toml", where
            )
        return ImpedanceSpectrum(
            chip_id, time_h, frequency_hz, real_ohm + 1j * imaginary_ohm, status
        )


def _status(point: Mapping[str, Variable]) -> int:
    bits = 0
    for variable in point.values():
        bits |= variable.status
    return bits
