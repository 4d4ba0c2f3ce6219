"""lab.toml: which instruments stand on this bench, as typed frozen settings.

Belongs here: reading, checking and naming every problem at once. Not here: opening anything
(bench), studies.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from chiploop.errors import FileNotValid, Problem
from instruments.impedance_meters.methodscript import Sweep

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Url = Annotated[str, Field(min_length=1)]


class LabSettingsNotValid(FileNotValid):
    """A lab.toml that can not be used; says every problem with its key."""

    code = "CL-310"

    def __init__(self, path: Path, problems: tuple[Problem, ...]) -> None:
        told = "\n".join(
            f"  {f'line {problem.line}, ' if problem.line else ''}{problem.field or 'file'}: "
            f"{problem.message}"
            for problem in problems
        )
        super().__init__(f"{path} can not be used:\n{told}")
        self.path = path
        self.problems = problems


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class BusSettings(_Section):
    """One wire that several pumps share."""

    url: Url
    """Any pyserial URL: a device path, ``COM3``, ``socket://host:port``, ``rfc2217://host:port``."""
    baudrate: int = Field(19200, ge=300, le=1_000_000)


class PumpEntry(_Section):
    """One pump on a bus."""

    make: str
    """A key of ``instruments.bench.DRIVERS``."""
    bus: Name
    address: int = Field(0, ge=0, le=99)
    syringe_diameter_mm: float = Field(ge=0.1, le=50)
    """Inner diameter of the syringe that stands in the pump; a wrong one is a wrong dose."""
    syringe_volume_ml: float = Field(gt=0, le=1000)
    min_flow_rate_ul_h: float = Field(gt=0)
    """Smallest steady flow asked of this pump."""
    max_flow_rate_ul_h: float | None = Field(None, gt=0)
    """Largest flow asked of this pump; None leaves it to the pump's own refusal."""
    safe_mode: bool = True
    """CRC and watchdog on the wire."""
    watchdog_s: int = Field(120, ge=0, le=255)
    """Real seconds of silence after which the pump stops by itself; 0 (off) goes only with
    ``safe_mode = false``."""

    @model_validator(mode="after")
    def _mode_and_range(self) -> PumpEntry:
        if round(float(f"{self.syringe_diameter_mm:.4g}"), 3) != self.syringe_diameter_mm:
            raise ValueError(
                "syringe_diameter_mm has more than 4 digits, which the pump can not hold"
            )
        if self.safe_mode and not self.watchdog_s:
            raise ValueError(
                "safe_mode = true wants watchdog_s of 1..255: on this wire a watchdog of 0 is "
                "basic mode"
            )
        if (
            self.max_flow_rate_ul_h is not None
            and self.max_flow_rate_ul_h <= self.min_flow_rate_ul_h
        ):
            raise ValueError("max_flow_rate_ul_h must be above min_flow_rate_ul_h")
        return self


class PlateReaderEntry(_Section):
    """One plate reader on a port of its own."""

    make: str
    url: Url
    baudrate: int = Field(9600, ge=300, le=1_000_000)
    read_limit_s: float = Field(300.0, gt=0)
    """Longest time that one read may take."""


class ImpedanceMeterEntry(_Section):
    """One impedance meter on a port of its own."""

    make: str
    url: Url
    baudrate: int = Field(230_400, ge=300, le=1_000_000)
    channels: dict[Name, Annotated[int, Field(ge=0, le=255)]]
    """Chip -> channel of the multiplexer, from 0."""
    multiplexer: Literal["gpio", "mux16", "none"] = "gpio"
    zim_sign: Literal["as_reported", "negated"] = "as_reported"
    start_hz: int = 100_000
    end_hz: int = 10
    points: int = 21
    amplitude_mv: int = 10

    @model_validator(mode="after")
    def _sweep_and_channels(self) -> ImpedanceMeterEntry:
        self.sweep()
        if self.multiplexer == "none" and len(self.channels) > 1:
            raise ValueError('multiplexer = "none" serves one chip; channels names more')
        if len(set(self.channels.values())) < len(self.channels):
            raise ValueError("channels: two chips share one channel")
        return self

    def sweep(self) -> Sweep:
        """Return the sweep of every chip; ValueError where the meter can not do it."""
        return Sweep(self.start_hz, self.end_hz, self.points, self.amplitude_mv)


class LabSettings(_Section):
    """The instruments of one bench, by name."""

    buses: dict[Name, BusSettings] = {}
    pumps: dict[Name, PumpEntry] = {}
    plate_readers: dict[Name, PlateReaderEntry] = {}
    impedance_meters: dict[Name, ImpedanceMeterEntry] = {}


def load_lab_settings(path: Path | str, makes: frozenset[str] | None = None) -> LabSettings:
    """Return the settings of one lab.toml; `LabSettingsNotValid` with all problems, each with its
    key.

    ``makes`` are the drivers on offer; None takes any name.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except OSError as trouble:
        raise LabSettingsNotValid(
            path, (Problem(None, "", f"can not be read ({trouble.strerror})"),)
        ) from trouble
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as trouble:
        raise LabSettingsNotValid(
            path, (Problem(None, "", f"is not TOML: {trouble}"),)
        ) from trouble
    return settings_from(content, path, text, makes)


def settings_from(
    content: dict[str, Any], path: Path, text: str = "", makes: frozenset[str] | None = None
) -> LabSettings:
    """Return settings of an already parsed lab.toml; `LabSettingsNotValid` as in
    `load_lab_settings`."""
    found: list[tuple[tuple[str, ...], str]] = []
    settings: LabSettings | None = None
    try:
        settings = LabSettings.model_validate(content)
    except ValidationError as trouble:
        for error in trouble.errors():
            key = tuple(str(part) for part in error["loc"] if part != "[key]")
            said = error["msg"].removeprefix("Value error, ")
            read = error["input"]
            found.append(
                (key, f"{said}; read {read!r}" if isinstance(read, (str, int, float)) else said)
            )
    if settings is not None:
        found.extend(_across(settings, makes))
    if found or settings is None:
        problems = tuple(
            Problem(_line(text, key), ".".join(key), message) for key, message in found
        )
        raise LabSettingsNotValid(path, problems)
    return settings


def _across(
    settings: LabSettings, makes: frozenset[str] | None
) -> list[tuple[tuple[str, ...], str]]:
    """Return what is wrong between entries that are each right."""
    found: list[tuple[tuple[str, ...], str]] = []
    entries: list[tuple[str, str, PumpEntry | PlateReaderEntry | ImpedanceMeterEntry]] = [
        *(("pumps", name, pump) for name, pump in settings.pumps.items()),
        *(("plate_readers", name, reader) for name, reader in settings.plate_readers.items()),
        *(("impedance_meters", name, meter) for name, meter in settings.impedance_meters.items()),
    ]
    for kind, name, entry in entries:
        if makes is not None and entry.make not in makes:
            found.append(
                ((kind, name, "make"), f"read {entry.make!r}; known: {', '.join(sorted(makes))}")
            )
    places: dict[tuple[str, int], str] = {}
    for name, pump in settings.pumps.items():
        if pump.bus not in settings.buses:
            known = ", ".join(settings.buses) or "none"
            found.append(
                (("pumps", name, "bus"), f"read {pump.bus!r}; buses in this file: {known}")
            )
        other = places.setdefault((pump.bus, pump.address), name)
        if other != name:
            found.append(
                (("pumps", name, "address"), f"address {pump.address} is also that of {other}")
            )
    for name in sorted(
        (set(settings.plate_readers) | set(settings.buses)) & set(settings.impedance_meters)
    ):
        found.append((("impedance_meters", name), "this name is also that of a bus or reader"))
    for name in sorted(set(settings.plate_readers) & set(settings.buses)):
        found.append((("plate_readers", name), "this name is also that of a bus"))
    urls: dict[str, str] = {}
    ports = [*(("buses", n, b.url) for n, b in settings.buses.items())]
    ports += [(kind, n, e.url) for kind, n, e in entries if not isinstance(e, PumpEntry)]
    for kind, name, url in ports:
        other = urls.setdefault(url, f"{kind}.{name}")
        if other != f"{kind}.{name}":
            found.append(((kind, name, "url"), f"port {url} is also that of {other}"))
    return found


def _line(text: str, key: tuple[str, ...]) -> int | None:
    """Return the line where a key stands, or the line of its section; None where neither is written
    out."""
    section: tuple[str, ...] = ()
    best: int | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[([^\[\]]+)\]", line):
            section = tuple(part.strip().strip("\"'") for part in header[1].split("."))
            if section and section == key[: len(section)]:
                best = number
        elif (entry := re.match(r"\s*[\"']?([A-Za-z0-9_-]+)[\"']?\s*=", line)) and key:
            if (*section, entry[1]) == key[: len(section) + 1]:
                return number
    return best
