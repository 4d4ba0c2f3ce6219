"""lab.toml: which instruments stand on this bench, as typed frozen settings.

Belongs here: reading, checking and naming every problem at once; what the settings of every make of
a kind share. Not here: keys of one make (its driver's file), opening anything (bench), studies.
"""

from __future__ import annotations

import re
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from chiploop.errors import FileNotValid, Problem
from chiploop.file_kinds import FILE_KINDS
from chiploop.safe_state import OnDeath
from instruments.make import Make
from instruments.notify_settings import WAYS, NotifySettings

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


class Entry(BaseModel):
    """A section of lab.toml; a key that it does not know is a problem, not a remark."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class BusSettings(Entry):
    """One wire that several pumps share."""

    url: Url
    """A device path, ``COM3``, ``usb://VID:PID:SERIAL``, ``socket://host:port``, ``rfc2217://host:port``."""
    baudrate: int | None = Field(None, ge=300, le=1_000_000)
    """None takes the usual one of the make on this bus."""


class DeviceEntry(Entry):
    """One device of any kind."""

    make: str
    """A key of ``instruments.drivers.DRIVERS``."""


class PumpEntry(DeviceEntry, ABC):
    """One pump on a bus."""

    bus: Name
    address: int = Field(0, ge=0, le=99)
    min_flow_rate_ul_h: float = Field(gt=0)
    """Smallest steady flow asked of this pump."""
    max_flow_rate_ul_h: float | None = Field(None, gt=0)
    """Largest flow asked of this pump; None leaves it to the pump's own refusal."""
    calibration: float = Field(1.0, ge=0.5, le=2.0)
    """Volume that was weighed over the volume that the pump showed; its flow range is as it shows."""

    @model_validator(mode="after")
    def _flow_range(self) -> PumpEntry:
        if (
            self.max_flow_rate_ul_h is not None
            and self.max_flow_rate_ul_h <= self.min_flow_rate_ul_h
        ):
            raise ValueError("max_flow_rate_ul_h must be above min_flow_rate_ul_h")
        return self

    def place(self) -> str:
        """Return where on its bus the device is; no two devices share a place."""
        return f"address {self.address}"

    def overdue(self, today: date) -> str:
        """Return what a person must renew before a new study; empty where nothing is due."""
        return ""

    @abstractmethod
    def content_ul(self) -> float:
        """Return what a full syringe or reservoir of this pump holds, in uL."""

    def diameter_mm(self) -> float | None:
        """Return the inner diameter of its syringe; None for a pump that has none."""
        return None


class SyringePumpEntry(PumpEntry):
    """One syringe pump on a bus."""

    syringe_diameter_mm: float = Field(ge=0.1, le=50)
    """Inner diameter of the syringe that stands in the pump; a wrong one is a wrong dose."""
    syringe_volume_ml: float = Field(gt=0, le=1000)

    def content_ul(self) -> float:
        """Return what a full syringe holds, in uL."""
        return 1000.0 * self.syringe_volume_ml

    def diameter_mm(self) -> float | None:
        """Return the inner diameter of the syringe."""
        return self.syringe_diameter_mm


class PortEntry(DeviceEntry):
    """One device on a port of its own."""

    url: Url
    baudrate: int | None = Field(None, ge=300, le=1_000_000)
    """None takes the usual one of the make."""


class SharedEntry(PortEntry):
    """A device that several runs may use in turn."""

    shared: bool = False
    """True: its port is held for the length of a reading, and others have it in between."""
    longest_wait_min: float = Field(30.0, gt=0, le=1440)
    """How long a reading waits for others before people are asked; only where it is shared."""

    @model_validator(mode="after")
    def _has_a_port_to_share(self) -> SharedEntry:
        if self.shared and not self.url:
            raise ValueError("shared: only for a device on a port of ours, and this has no url")
        if not self.shared and "longest_wait_min" in self.model_fields_set:
            raise ValueError("longest_wait_min: only where shared = true")
        return self


class PlateReaderEntry(SharedEntry):
    """One plate reader."""

    read_limit_s: float = Field(300.0, gt=0)
    """Longest time that one read may take."""


class ImpedanceMeterEntry(SharedEntry):
    """One impedance meter and the chips that it reaches."""

    channels: dict[Name, Annotated[int, Field(ge=0, le=255)]]
    """Chip -> channel of the multiplexer, from 0."""


class ValveEntry(PortEntry):
    """One valve; one that stands before a chip bears the chip's name."""

    lines: dict[Name, Annotated[int, Field(ge=1)]] = {}
    """Line of a study -> port of the valve that it comes to; the common port leads to the chip."""


class FileFolder(Entry):
    """Where files of one kind arrive that a program elsewhere writes."""

    path: Annotated[str, Field(min_length=1)]
    """A folder of this computer or a share; relative to where chiploop is started."""
    look_every_s: float = Field(60.0, ge=1.0, le=3600.0)


class SupervisorSettings(Entry):
    """What is done about the chips when the process of a run has died or hangs."""

    after_min: Annotated[float, Field(gt=0)] = 5.0
    """How long it must be gone: a computer that restarts takes it up by itself."""
    hung_after_min: Annotated[float, Field(gt=0)] = 60.0
    """A process that lives and whose flow has done nothing for so long is ended first."""
    plain_medium_h: Annotated[float, Field(gt=0)] = 12.0
    """How long plain medium flows at a time; it is given again as long as syringes last."""
    lines: dict[Name, OnDeath] = {}
    """Line -> ``plain_medium`` (drug and stimulus stop, plain medium flows; the default), ``finish_dose`` (what
    flows goes on to its end, then plain medium) or ``stop`` (all stops)."""


class ComputerSettings(Entry):
    """The computer with the cables."""

    name: str = ""
    """As it calls itself (``hostname``); empty where the file may be used on any."""

    def is_here(self, own: str) -> bool:
        """Return whether a computer of this name may use the instruments: case and domain do not count."""
        return not self.name or bare(self.name) == bare(own)


def bare(computer: str) -> str:
    """Return a computer's name without its domain, in small letters."""
    return computer.strip().lower().partition(".")[0]


class LabSettings(Entry):
    """The instruments of one bench, by name; each entry is of its make's own class."""

    supervisor: SupervisorSettings = SupervisorSettings()
    computer: ComputerSettings = ComputerSettings()

    buses: dict[Name, BusSettings] = {}
    file_folders: dict[Name, FileFolder] = {}
    """Kind of file, a key of ``chiploop.file_kinds.FILE_KINDS`` -> its folder."""
    pumps: dict[Name, PumpEntry] = {}
    plate_readers: dict[Name, PlateReaderEntry] = {}
    impedance_meters: dict[Name, ImpedanceMeterEntry] = {}
    valves: dict[Name, ValveEntry] = {}
    notify: NotifySettings = NotifySettings()
    """How people are told; nobody where the file has no such section."""

    def devices(self) -> list[tuple[str, str, DeviceEntry]]:
        """Return (section, name, entry) of every device."""
        sections: dict[str, Mapping[str, DeviceEntry]] = {
            "pumps": self.pumps,
            "plate_readers": self.plate_readers,
            "impedance_meters": self.impedance_meters,
            "valves": self.valves,
        }
        return [
            (section, name, entry)
            for section, entries in sections.items()
            for name, entry in entries.items()
        ]


SECTION_OF = {
    "pump": "pumps",
    "plate_reader": "plate_readers",
    "impedance_meter": "impedance_meters",
    "valve": "valves",
}
"""Kind of a make -> its section of lab.toml."""
NO_DEVICES: dict[str, type[Entry]] = {"buses": BusSettings, "file_folders": FileFolder}
"""Section of lab.toml whose entries are no devices -> what they are."""
WHOLE_SECTIONS: dict[str, type[Entry]] = {
    "supervisor": SupervisorSettings,
    "computer": ComputerSettings,
}
"""Section of lab.toml that has no entries of its own -> what it is."""

NOTIFY = "notify"
"""The section that names no device."""

Found = list[tuple[tuple[str, ...], str]]
"""(key, what is wrong)."""


def load_lab_settings(path: Path | str, makes: Mapping[str, Make]) -> LabSettings:
    """Return the settings of one lab.toml; `LabSettingsNotValid` with all problems, each with its
    key.
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
    content: dict[str, Any], path: Path, text: str, makes: Mapping[str, Make]
) -> LabSettings:
    """Return settings of an already parsed lab.toml; `LabSettingsNotValid` as in
    `load_lab_settings`."""
    found: Found = []
    parsed: dict[str, dict[str, Any]] = {
        **{section: {} for section in NO_DEVICES},
        **{section: {} for section in SECTION_OF.values()},
        NOTIFY: {},
    }
    whole: dict[str, Entry] = {}
    for section, entries in content.items():
        if section in WHOLE_SECTIONS:
            try:
                whole[section] = WHOLE_SECTIONS[section].model_validate(entries)
            except ValidationError as trouble:
                found += _problems((section,), trouble)
        elif section not in parsed:
            known = ", ".join((*parsed, *WHOLE_SECTIONS))
            found.append(((section,), f"is no section; sections: {known}"))
        elif not isinstance(entries, dict):
            found.append(((section,), f"is no table of devices; read {entries!r}"))
        else:
            for name, raw in entries.items():
                model: type[BaseModel] | str
                if section == NOTIFY:
                    model = WAYS.get(name, f"is no way to tell people; known: {', '.join(WAYS)}")
                else:
                    model = NO_DEVICES.get(section) or _entry_class(section, raw, makes)
                if isinstance(model, str):
                    key = (section, name) if section == NOTIFY else (section, name, "make")
                    found.append((key, model))
                    continue
                try:
                    parsed[section][name] = model.model_validate(raw)
                except ValidationError as trouble:
                    found += _problems((section, name), trouble, shown=section != NOTIFY)
    settings: LabSettings | None = None
    try:
        settings = LabSettings.model_validate({**parsed, **whole})
    except ValidationError as trouble:
        found += _problems((), trouble)
    if settings is not None:
        found += _across(settings) + _on_buses(settings, makes)
    if found or settings is None:
        problems = tuple(
            Problem(_line(text, key), ".".join(key), message) for key, message in found
        )
        raise LabSettingsNotValid(path, problems)
    return settings


def _entry_class(section: str, raw: Any, makes: Mapping[str, Make]) -> type[BaseModel] | str:
    """Return the class of a device's settings, or what is wrong with its make."""
    here = sorted(name for name, make in makes.items() if SECTION_OF[make.kind] == section)
    if not isinstance(raw, dict) or "make" not in raw:
        return f"is missing; known in {section}: {', '.join(here)}"
    name = raw["make"]
    return makes[name].entry if name in here else f"read {name!r}; known: {', '.join(here)}"


def _problems(place: tuple[str, ...], trouble: ValidationError, shown: bool = True) -> Found:
    """``shown``: what was read is told; not where it may be a password in the wrong place."""
    found: Found = []
    for error in trouble.errors():
        key = place + tuple(str(part) for part in error["loc"] if part != "[key]")
        said = error["msg"].removeprefix("Value error, ")
        read = error["input"]
        found.append(
            (
                key,
                f"{said}; read {read!r}" if shown and isinstance(read, (str, int, float)) else said,
            )
        )
    return found


def _across(settings: LabSettings) -> Found:
    """Return what is wrong between entries that are each right."""
    found: Found = [
        (("file_folders", kind), f"is no kind of file; known: {', '.join(FILE_KINDS)}")
        for kind in settings.file_folders
        if kind not in FILE_KINDS
    ]
    places: dict[tuple[str, str], str] = {}
    make_on: dict[str, str] = {}
    for name, pump in settings.pumps.items():
        if pump.bus not in settings.buses:
            known = ", ".join(settings.buses) or "none"
            found.append(
                (("pumps", name, "bus"), f"read {pump.bus!r}; buses in this file: {known}")
            )
        other = places.setdefault((pump.bus, pump.place()), name)
        if other != name:
            found.append((("pumps", name, "address"), f"{pump.place()} is also that of {other}"))
        make = make_on.setdefault(pump.bus, pump.make)
        if make != pump.make:
            found.append(
                (("pumps", name, "make"), f"bus {pump.bus} already carries {make}; one make a bus")
            )
    names: dict[str, str] = {}
    urls: dict[str, str] = {}
    ports: list[tuple[str, str, str]] = [("buses", n, bus.url) for n, bus in settings.buses.items()]
    for section, name, entry in settings.devices():
        if isinstance(entry, PortEntry):
            ports.append((section, name, entry.url))
    for section, name, url in ports:
        other = names.setdefault(name, section)
        if other != section:
            found.append(((section, name), f"this name is also that of one of {other}"))
        if not url:
            continue  # a device that opens its own port
        other = urls.setdefault(url, f"{section}.{name}")
        if other != f"{section}.{name}":
            found.append(((section, name, "url"), f"port {url} is also that of {other}"))
    return found


def _on_buses(settings: LabSettings, makes: Mapping[str, Make]) -> Found:
    """Return what a make says of pumps of its own that share a bus."""
    found: Found = []
    buses: dict[tuple[str, str], dict[str, PumpEntry]] = {}
    for name, pump in settings.pumps.items():
        buses.setdefault((pump.bus, pump.make), {})[name] = pump
    for (_, make), pumps in buses.items():
        if check := makes[make].check_bus:
            found += [(("pumps", name, "bus"), problem) for name, problem in check(pumps)]
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
