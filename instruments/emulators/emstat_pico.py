"""PalmSens EmStat Pico as a state machine: impedance spectra by MethodSCRIPT.

Belongs here: what the meter does with commands and scripts. Not here: the script's grammar
(methodscript), the impedance of a chip (a callback says it), how an EmStat4 differs (emstat4), ports.

The channel is the number on the multiplexer's GPIO pins. UNCONFIRMED: sign of ``cd`` (here the
imaginary part as it is, so a capacitor is negative), technique number of EIS, answers to ``v`` and
``i``, error numbers, what follows ``Z`` in the stream of an aborted script, overload limits.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from instruments.emulators.methodscript import (
    ErrorCodes,
    ScriptError,
    Step,
    package,
    package_value,
    parse,
)

Clock = Callable[[], float]
Impedance = Callable[[int, np.ndarray], np.ndarray]
"""(channel, frequencies in Hz (n_freq,)) -> complex ohm (n_freq,)."""

EIS_TECHNIQUE = "M000D"
MOST_POINTS = 1000
UNDERLOAD_A = 1e-9
"""Current below which a point carries the underload bit."""
STATUS_OVERLOAD, STATUS_UNDERLOAD = 2, 4
LONGEST_LINE = 128
LONGEST_SCRIPT = 200


@dataclass(frozen=True)
class EmStatPicoSettings:
    """What is fixed about one emulated meter."""

    firmware: str = "tespico1201#Jul 13 2021 17:24:14\nR*\n"
    seconds_per_point: float = 0.0
    """Wall time of one point; 0 sends a whole spectrum at once."""
    script_version: str = "v0103\n"
    serial_number: str = "iEMUL0001\n"
    imaginary_sign: float = 1.0
    """-1: ``cd`` is the negative of the imaginary part, so a capacitor is positive."""
    frequency_range_hz: tuple[float, float] = (0.016, 200_000.0)
    highest_amplitude_v: float = 0.25
    overload_a: float = 3e-3
    """Current above which a point carries the overload bit, whatever range is set."""
    obeys_ranges: bool = False
    """True: ranges that are the wrong way round are refused, and a current above the highest one that
    the script allows is an overload, too."""
    eis_modes: frozenset[int] = frozenset({2, 3, 4})
    """Modes in which impedance can be measured."""
    metadata: tuple[str, ...] = ("287",)
    """Fields that follow the status of a package value, as in the published packages."""
    codes: ErrorCodes = field(default_factory=ErrorCodes)
    names_column_at_run: bool = True
    """False: an error while the script runs names its line only."""
    finishes_after_error: bool = True
    """False: an error while the script runs skips what follows ``on_finished:``."""
    deaf_after_error_s: float = 0.0
    """Wall time in which the meter takes nothing after it refused a command."""


class EmStatPico:
    """EmStat Pico; ``receive`` takes bytes, lines end with LF."""

    def __init__(
        self, impedance: Impedance, wall_s: Clock, settings: EmStatPicoSettings | None = None
    ) -> None:
        self.settings = settings or EmStatPicoSettings()
        self.revision = 0
        """Grows whenever the durable state has changed."""
        self.cell_on = False
        """True while the cell is switched on."""
        self._impedance, self._wall_s = impedance, wall_s
        self._line = bytearray()
        self._script: list[str] | None = None
        self._running: Iterator[str] | None = None
        self._finally: tuple[Step, ...] = ()
        self._due_s = -math.inf
        self._deaf_until_s = -math.inf
        self._mode = 0
        self._highest_range_a = math.inf
        self._gpio_outputs = 0
        self._gpio = 0

    @property
    def channel(self) -> int:
        """Channel that the multiplexer connects."""
        return self._gpio

    def receive(self, data: bytes) -> bytes:
        """Take bytes; return the answers to the lines that they complete."""
        answer = self._stream()
        for byte in data:
            if byte == 0x0D or self._wall_s() < self._deaf_until_s:
                continue
            if byte != 0x0A:
                self._line.append(byte)
                del self._line[:-LONGEST_LINE]
                continue
            line, self._line = self._line.decode("latin-1"), bytearray()
            said = self._hear(line)
            if "!" in said:
                self._deaf_until_s = self._wall_s() + self.settings.deaf_after_error_s
            answer += said + self._stream()
        return answer.encode("latin-1", "replace")

    def poll(self) -> bytes:
        """Return the points of a running spectrum that have become due."""
        return self._stream().encode("latin-1")

    def power_cycle(self) -> None:
        """Interrupt the power: a running script is gone, the cell is off, pins are inputs."""
        fresh = EmStatPico(self._impedance, self._wall_s, self.settings)
        self.restore(fresh.state())

    def _hear(self, line: str) -> str:
        if self._script is not None:
            if line.strip():
                self._script.append(line)
                return ""
            script, self._script = self._script, None
            return self._begin(script)
        if line == "e":
            if self._running is not None:
                return f"e!{self.settings.codes.busy}\n"
            self._script = []
            return ""
        if line == "Z":
            return self._abort()
        if not line:
            return ""
        answers = {
            "t": self.settings.firmware,
            "v": self.settings.script_version,
            "i": self.settings.serial_number,
        }
        return answers.get(line, f"{line[0]}!{self.settings.codes.unknown_request}\n")

    def _begin(self, script: list[str]) -> str:
        codes = self.settings.codes
        try:
            if len(script) > LONGEST_SCRIPT:
                raise ScriptError(codes.out_of_place, LONGEST_SCRIPT)
            steps = parse(script, codes)
            marks = [at for at, step in enumerate(steps) if step.command == "on_finished:"]
            until = marks[0] if marks else len(steps)
            self._finally = steps[until + 1 :]
            self._running = self._run(steps[:until])
        except ScriptError as error:
            return f"e{error}\n"
        self._due_s = self._wall_s()
        return "e\n"

    def _abort(self) -> str:
        if self._running is None:
            return "Z!0006\n"
        self._running = None
        return "Z\n*\n" + self._finish()

    def _stream(self) -> str:
        """Return what the running script has said by now."""
        said = ""
        while self._running is not None and self._wall_s() >= self._due_s:
            try:
                said += next(self._running)
            except StopIteration:
                self._running = None
                said += self._finish()
            except ScriptError as error:
                self._running = None
                if not self.settings.finishes_after_error:
                    self._finally = ()
                said += f"{self._told(error)}\n" + self._finish()
        return said

    def _finish(self) -> str:
        """Carry out the steps after ``on_finished:`` and end the script."""
        said = ""
        try:
            said = "".join(self._run(self._finally))
        except ScriptError as error:
            said = f"{self._told(error)}\n"
        self._finally = ()
        self._mode, self._highest_range_a = 0, math.inf
        self.revision += 1
        return said + "\n"

    def _told(self, error: ScriptError) -> str:
        return str(error) if self.settings.names_column_at_run else error.without_column

    def _run(self, steps: tuple[Step, ...]) -> Iterator[str]:
        """Carry out steps, yielding what the meter says."""
        left = deque(steps)
        while left:
            step = left.popleft()
            if step.command == "meas_loop_eis":
                body = []
                while left and left[0].command != "endloop":
                    body.append(left.popleft())
                if not left:
                    raise ScriptError(self.settings.codes.out_of_place, step.line)
                left.popleft()
                yield from self._sweep(step, body)
            elif step.command in ("pck_start", "pck_add", "pck_end", "endloop", "on_finished:"):
                raise ScriptError(self.settings.codes.out_of_place, step.line)
            else:
                self._do(step)

    def _do(self, step: Step) -> None:
        numbers = [a for a in step.arguments if isinstance(a, float)]
        if step.command in ("cell_on", "cell_off"):
            self.cell_on = step.command == "cell_on"
        elif step.command == "set_pgstat_mode":
            if numbers[0] not in (0, 2, 3, 4):
                raise ScriptError(self.settings.codes.bad_mode, step.line)
            self._mode = int(numbers[0])
        elif step.command in ("set_range", "set_autoranging") and step.arguments[0] == "ba":
            if self.settings.obeys_ranges and numbers[0] > numbers[-1]:
                raise ScriptError(self.settings.codes.bad_argument, step.line)
            self._highest_range_a = numbers[-1]
        elif step.command == "set_gpio_cfg":
            mask, direction = int(numbers[0]), numbers[1]
            self._gpio_outputs = (
                self._gpio_outputs | mask if direction == 1 else self._gpio_outputs & ~mask
            )
        elif step.command == "set_gpio":
            self._gpio = int(numbers[0]) & self._gpio_outputs

    def _sweep(self, loop: Step, body: list[Step]) -> Iterator[str]:
        """Measure log-spaced points from first to last frequency; the cell must be on."""
        names = [str(name) for name in loop.arguments[:3]]
        amplitude_v, first_hz, last_hz, count, _ = (float(a) for a in loop.arguments[3:])
        lowest_hz, highest_hz = self.settings.frequency_range_hz
        codes = self.settings.codes
        if not self.cell_on:
            raise ScriptError(codes.cell_off, loop.line)
        if self._mode not in self.settings.eis_modes:
            raise ScriptError(codes.wrong_mode, loop.line)
        if not 1 <= count <= MOST_POINTS:
            raise ScriptError(codes.bad_argument, loop.line)
        if not 0 < amplitude_v <= self.settings.highest_amplitude_v:
            raise ScriptError(codes.bad_amplitude, loop.line)
        if not all(lowest_hz <= hz <= highest_hz for hz in (first_hz, last_hz)):
            raise ScriptError(codes.bad_frequency, loop.line)
        commands = [step.command for step in body]
        if commands != ["pck_start", *["pck_add"] * (len(body) - 2), "pck_end"]:
            raise ScriptError(codes.out_of_place, body[0].line if body else loop.line)
        strangers = [step for step in body[1:-1] if step.arguments[0] not in names]
        if strangers:
            raise ScriptError(codes.bad_argument, strangers[0].line)
        asked = [names.index(str(step.arguments[0])) for step in body[1:-1]]
        frequency_hz = np.geomspace(first_hz, last_hz, int(count))
        impedance_ohm = np.asarray(self._impedance(self.channel, frequency_hz), dtype=complex)
        overload_a = self.settings.overload_a
        if self.settings.obeys_ranges:
            overload_a = min(overload_a, self._highest_range_a)
        yield f"{EIS_TECHNIQUE}\n"
        for hz, ohm in zip(frequency_hz.tolist(), impedance_ohm.tolist(), strict=True):
            self._due_s += self.settings.seconds_per_point
            metadata = (f"1{_status(amplitude_v, ohm, overload_a):X}", *self.settings.metadata)
            point = (
                package_value("dc", hz),
                package_value("cc", ohm.real, metadata),
                package_value("cd", self.settings.imaginary_sign * ohm.imag, metadata),
            )
            yield package(*(point[at] for at in asked))
        yield "*\n"

    # --- durable state

    def state(self) -> dict[str, Any]:
        """Return what outlives the process, ready for JSON; a running script does not."""
        return {
            "gpio_outputs": self._gpio_outputs,
            "gpio": self._gpio,
            "cell_on": self.cell_on and self._running is None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over an exported state; no script is running."""
        self._gpio_outputs, self._gpio = state["gpio_outputs"], state["gpio"]
        self.cell_on = state["cell_on"]
        self._line, self._script, self._running, self._finally = bytearray(), None, None, ()
        self._mode, self._highest_range_a, self._deaf_until_s = 0, math.inf, -math.inf
        self.revision += 1


def _status(amplitude_v: float, impedance_ohm: complex, overload_a: float) -> int:
    size_ohm = abs(impedance_ohm)
    if not math.isfinite(size_ohm) or amplitude_v < UNDERLOAD_A * size_ohm:
        return STATUS_UNDERLOAD
    return STATUS_OVERLOAD if amplitude_v > overload_a * size_ohm else 0
