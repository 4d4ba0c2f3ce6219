"""PalmSens EmStat impedance meters behind a multiplexer. Their bytes are in `methodscript`.

Belongs here: measuring one chip, by a sweep or at one frequency; what all models share. Not here: a
model's own settings (`emstat_pico`, `emstat4`), resistance, area, blanks (assays).
Not tried on a real device; what is unconfirmed is a named option of lab.toml.

Every script switches the cell off by itself (``on_finished:``), also one that is aborted, and also
one whose cable was pulled. The first line of the version is taken for the meter's identity.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from pydantic import Field, model_validator

from chiploop.measurement import ImpedanceSpectrum
from instruments.errors import DeviceRejected, FrameError, InstrumentError, Interrupted
from instruments.impedance_meters.methodscript import (
    AUTORANGING,
    FREQUENCY,
    MULTIPLEXERS,
    Z_IMAGINARY,
    Z_REAL,
    ZIM_SIGN,
    SingleFrequency,
    Sweep,
    Variable,
    abort_length,
    decode_stream,
    decode_version,
    describe_status,
    measure_script,
    rest_length,
    stream_length,
    version_length,
)
from instruments.lab_settings import ImpedanceMeterEntry
from instruments.transport import NotSent, Transport

FREQUENCY_SLACK: Final = 0.01
"""Relative; a frequency further off what was asked belongs to another script."""
TRIES_TO_REST: Final = 3
NOTHING_RUNS: Final = b"Z!0006\n"
QUIET_S: Final = 0.06
"""After an error the meter wants more than 50 ms before the next command."""

ABORT: Final = b"Z\n"
CELL_OFF: Final = b"e\ncell_off\n\n"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmStatModel:
    """What differs between the models."""

    title: str
    identities: tuple[str, ...]
    """What the first line of the version begins with."""


class EmStatEntry(ImpedanceMeterEntry):
    """Settings that every EmStat has in lab.toml; ``multiplexer`` is the model's own."""

    multiplexer: str
    zim_sign: Literal["as_reported", "negated"] = "as_reported"
    autoranging: Literal["1u", "1p"]
    single_frequency_hz: int | None = None
    """Measure at this frequency alone, in place of a sweep."""
    repeats: int = Field(3, ge=1, le=100)
    """How often a single frequency is measured; every point is kept."""
    start_hz: int = 100_000
    end_hz: int = 10
    points: int = 21
    amplitude_mv: int = 10

    @model_validator(mode="after")
    def _measurement_and_channels(self) -> EmStatEntry:
        single = self.single_frequency_hz is not None
        unused = {"start_hz", "end_hz", "points"} if single else {"repeats"}
        if given := sorted(unused & self.model_fields_set):
            only = "a sweep" if single else "single_frequency_hz"
            raise ValueError(f"{', '.join(given)}: only for {only}")
        self.sweep()
        check_channels(self.multiplexer, self.channels)
        return self

    def sweep(self) -> Sweep | SingleFrequency:
        """Return what is measured at every chip, one frequency being a sweep of one point; ValueError
        where the meter can not do it."""
        if self.single_frequency_hz is not None:
            return SingleFrequency(self.single_frequency_hz, self.amplitude_mv)
        return Sweep(self.start_hz, self.end_hz, self.points, self.amplitude_mv)


def check_channels(multiplexer: str, channels: Mapping[str, int]) -> None:
    """Raise ValueError where the multiplexer can not reach every chip by a channel of its own."""
    if multiplexer == "none" and len(channels) > 1:
        raise ValueError(
            f'multiplexer = "none" serves one chip; channels names {len(channels)}: '
            f"{', '.join(channels)}"
        )
    if len(set(channels.values())) < len(channels):
        raise ValueError("channels: two chips share one channel")
    highest = MULTIPLEXERS[multiplexer].highest_channel
    if beyond := [chip for chip, channel in channels.items() if not 0 <= channel <= highest]:
        raise ValueError(f"channels: {', '.join(beyond)} beyond 0..{highest} of {multiplexer}")


class EmStat:
    """Impedance meter that measures one of several chips; no channel switching where
    ``multiplexer`` is ``none``."""

    def __init__(
        self,
        name: str,
        transport: Transport,
        model: EmStatModel,
        *,
        channels: Mapping[str, int],
        measurement: Sweep | SingleFrequency = Sweep(),  # noqa: B008 - frozen
        repeats: int = 1,
        multiplexer: str = "gpio",
        zim_sign: str = "as_reported",
        autoranging: str = "1u",
        deadline_s: float = 180.0,
    ) -> None:
        for value, offered in (
            (multiplexer, MULTIPLEXERS),
            (zim_sign, ZIM_SIGN),
            (autoranging, AUTORANGING),
        ):
            if value not in offered:
                raise ValueError(f"{name}: {value!r} is not offered; {', '.join(offered)}")
        check_channels(multiplexer, channels)
        self.name = name
        self.firmware = ""
        """First line of the version; empty before `open`."""
        self._transport = transport
        self._generation = transport.generation
        self._model = model
        self._channels = dict(channels)
        self._measurement = measurement
        self._repeats = repeats
        self._multiplexer = multiplexer
        self._zim_sign = zim_sign
        self._autoranging = autoranging
        self._deadline_s = deadline_s
        self._stopped = False

    def open(self) -> None:
        """Ask for the version; measures nothing and aborts nothing."""
        with self._transport.owned():
            self._generation = self._transport.generation
            self.firmware = self._identity()

    def close(self) -> None:
        """Send nothing: every script has switched the cell off by itself."""

    def measure_spectrum(self, chip_id: str, time_h: float) -> ImpedanceSpectrum:
        """Measure one chip; (points,) complex ohm in the order measured, with the meter's status
        bits per point.

        A single frequency gives ``repeats`` points at that frequency. A point is kept with its bits
        where timing, overload or underload spoil it (NaN where it is no number), for the assay to
        leave out; a measurement without any good point is refused. ValueError for a chip without
        channel.
        """
        if chip_id not in self._channels:
            raise ValueError(
                f"chip {chip_id} has no channel of {self.name}; known: {', '.join(self._channels)}"
            )
        where = f"{self.name}, measuring {chip_id}"
        script = self._script(self._channels[chip_id])
        points: list[dict[str, Variable]] = []
        with self._transport.owned():
            self._stopped = False
            try:
                self._meet_again()
                for _ in range(self._repeats):
                    points += self._points(self._run(script))
                    if self._stopped:
                        raise Interrupted("a stop came")
            except NotSent:
                raise
            except InstrumentError as trouble:
                self._transport.garbled(trouble)
                kind = Interrupted if self._stopped else type(trouble)
                was = "stopped: " if kind is Interrupted else ""
                told = kind(f"{where}: {was}{trouble}")
                try:
                    self._come_to_rest()
                    if isinstance(trouble, DeviceRejected):
                        self._switch_cell_off()
                except InstrumentError as unrest:
                    told.add_note(str(unrest))
                raise told from trouble
            except BaseException:  # Ctrl-C while the script runs
                with suppress(InstrumentError):
                    self._come_to_rest()
                raise
        return self._spectrum(chip_id, time_h, points)

    def stop(self) -> None:
        """Abort a running script, also one that another thread waits for, and return once the meter
        says that it has ended; the script itself switches the cell off."""
        self._stopped = True
        self._come_to_rest()

    # --- meeting the meter

    def _identity(self) -> str:
        """Return what the meter calls itself; asked again once."""
        try:
            return self._version()
        except NotSent:
            raise
        except InstrumentError as trouble:
            self._transport.garbled(trouble)
            self._transport.drain(quiet_s=QUIET_S, limit_s=0.5)
        try:
            return self._version()
        except FrameError as trouble:
            raise FrameError(f"{self.name} is no {self._model.title}: {trouble}") from trouble

    def _version(self) -> str:
        answer = self._transport.exchange(b"t\n", version_length, deadline_s=3.0, inter_byte_s=1.0)
        return decode_version(answer, self._model.identities)

    def _meet_again(self) -> None:
        """Make sure that the meter behind a port that was lost and opened again is the same; ends
        what still runs there from before the loss."""
        if self._generation == self._transport.generation:
            return
        try:
            found = self._identity()
        except NotSent:
            raise
        except InstrumentError:  # a script still talks, or nobody does
            self._come_to_rest()
            found = self._identity()
        if self.firmware and found != self.firmware:
            raise InstrumentError(
                f"now {found!r} answers; before the port was lost {self.firmware!r}"
            )
        self._come_to_rest()
        self.firmware = found
        self._generation = self._transport.generation

    def _come_to_rest(self) -> None:
        """Abort whatever runs, and return once the meter says that nothing does.

        `InstrumentError` where it does not: then the cell may still be on.
        """
        trouble: InstrumentError | None = None
        with self._transport.owned(urgent=True):
            for _ in range(TRIES_TO_REST):
                try:
                    answer = self._transport.exchange(
                        ABORT, abort_length, deadline_s=2.0, inter_byte_s=0.5
                    )
                    if b"!" not in answer:
                        self._transport.read_answer(rest_length, deadline_s=3.0, inter_byte_s=1.0)
                        return
                    self._transport.drain(quiet_s=QUIET_S, limit_s=0.5)
                    if answer.endswith(NOTHING_RUNS):
                        return
                    trouble = FrameError(f"it answers {answer[-40:]!r} to an abort")
                except NotSent:
                    raise
                except InstrumentError as lost:
                    self._transport.garbled(lost)
                    trouble = lost
        raise InstrumentError(
            f"{self.name} does not say that its script has ended; the cell MAY STILL BE ON: look at "
            f"the meter ({trouble})"
        )

    def _switch_cell_off(self) -> None:
        """Switch the cell off by a script of its own: one that ended by an error may have left out
        what stands behind its ``on_finished:``."""
        try:
            self._run(CELL_OFF)
        except InstrumentError as trouble:
            raise InstrumentError(
                f"{self.name} did not take cell_off; the cell MAY STILL BE ON: look at the meter "
                f"({trouble})"
            ) from trouble

    # --- measuring

    def _script(self, channel: int) -> bytes:
        highest = max(self._channels.values())
        choose = MULTIPLEXERS[self._multiplexer].lines(channel, highest)
        return measure_script(self._measurement, choose, self._autoranging)

    def _run(self, script: bytes) -> tuple[tuple[Variable, ...], ...]:
        stream = self._transport.exchange(
            script, stream_length, deadline_s=self._deadline_s, inter_byte_s=self._deadline_s
        )
        return decode_stream(stream)

    def _points(self, packages: tuple[tuple[Variable, ...], ...]) -> list[dict[str, Variable]]:
        """Return the points of one script by kind; `FrameError` where they are not those asked."""
        asked = self._measurement
        if len(packages) != asked.points:
            raise FrameError(f"{len(packages)} points came, not {asked.points}")
        points = [{variable.kind: variable for variable in package} for package in packages]
        if any(not {FREQUENCY, Z_REAL, Z_IMAGINARY} <= set(point) for point in points):
            raise FrameError(f"a point without frequency ({FREQUENCY}), {Z_REAL} or {Z_IMAGINARY}")
        frequency_hz = np.array([point[FREQUENCY].value for point in points])
        low, high = asked.end_hz * (1 - FREQUENCY_SLACK), asked.start_hz * (1 + FREQUENCY_SLACK)
        if not np.all((frequency_hz >= low) & (frequency_hz <= high)):
            raise FrameError(f"frequencies {frequency_hz} Hz leave {low:g}..{high:g} Hz")
        if not np.all(np.diff(frequency_hz) < 0):
            raise FrameError(f"frequencies {frequency_hz} Hz do not fall from point to point")
        return points

    def _spectrum(
        self, chip_id: str, time_h: float, points: list[dict[str, Variable]]
    ) -> ImpedanceSpectrum:
        where = f"{self.name}, measuring {chip_id}"
        status = tuple(_status(point) for point in points)
        if all(status):
            raise DeviceRejected(f"{where}: no good point ({describe_status(status[0])})")
        sign = ZIM_SIGN[self._zim_sign]
        frequency_hz = np.array([point[FREQUENCY].value for point in points])
        real_ohm = np.array([point[Z_REAL].value for point in points])
        imaginary_ohm = sign * np.array([point[Z_IMAGINARY].value for point in points])
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


def build_emstat(name: str, port: Transport, model: EmStatModel, entry: EmStatEntry) -> EmStat:
    """Return the driver of one entry; sends nothing."""
    return EmStat(
        name,
        port,
        model,
        channels=entry.channels,
        measurement=entry.sweep(),
        repeats=entry.repeats if entry.single_frequency_hz is not None else 1,
        multiplexer=entry.multiplexer,
        zim_sign=entry.zim_sign,
        autoranging=entry.autoranging,
    )


def recognise_emstat(answer: bytes, model: EmStatModel) -> str | None:
    """Return what a meter of this model calls itself; None for anything else."""
    try:
        return decode_version(answer, model.identities)
    except InstrumentError:
        return None
