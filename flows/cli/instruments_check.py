"""``chiploop instruments test`` and ``confirm``: whether devices answer, and are set for what stands in them.

Belongs here: opening one device after the other, telling all that failed. Not here: bytes (drivers).
Each device is opened by itself, so that one which fails hides no other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import typer

from chiploop.errors import InstrumentTrouble, WaitingForPerson
from flows.cli import instruments_lab as shared
from flows.cli.screen import JSON_OPTION, paint, print_json

if TYPE_CHECKING:
    from instruments.bench import Bench
    from instruments.lab_settings import DeviceEntry, LabSettings

State = Literal["ok", "failed", "not asked"]
COLOURS = {"ok": "green", "failed": "red", "not asked": "yellow"}


@dataclass(frozen=True)
class Tested:
    """What came of one device."""

    name: str
    make: str
    state: State
    told: str
    remarks: tuple[str, ...] = ()
    """What its driver had to say besides."""


@runtime_checkable
class _Firmware(Protocol):
    firmware: str


@runtime_checkable
class _Identity(Protocol):
    identity: str


def ask_devices(
    lab: Path = shared.LAB,
    pump: list[str] = shared.PUMPS,
    runs: Path = shared.RUNS,
    as_json: bool = JSON_OPTION,
) -> None:
    """Open every device, ask who it is, how it stands and whether it is set as lab.toml says.

    Moves no liquid, stops no pump, sets no syringe. Exit code 4 where a device failed, 7 where a
    pump was not asked because a dose of it is open. With --json: {"ok", "devices": [{"name", "make",
    "state", "told", "remarks"}], "unconfirmed"}.
    """
    from instruments.drivers import load_lab_settings

    settings = load_lab_settings(lab)
    names = shared.named_pumps(settings, pump, lab)
    wanted = [d for d in settings.devices() if d[1] in names or not pump]
    doses = shared.open_doses(runs)
    found: list[Tested] = []
    for section, name, entry in wanted:
        if section == "pumps" and name in doses:
            one = Tested(name, entry.make, "not asked", doses[name].told(name))
        else:
            one = _tested(lab, settings, section, name, entry, runs)
        found.append(one)
        if not as_json:
            _show(one, max(len(n) for _, n, _ in wanted))
    unconfirmed = shared.unconfirmed_of(entry.make for _, _, entry in wanted)
    failed = [one.name for one in found if one.state == "failed"]
    refused = [one.name for one in found if one.state == "not asked"]
    if as_json:
        print_json(
            {
                "ok": not failed and not refused,
                "devices": [vars(one) | {"remarks": list(one.remarks)} for one in found],
                "unconfirmed": {make: list(told) for make, told in unconfirmed.items()},
            }
        )
    else:
        _show_end(lab, found, unconfirmed, runs)
    if failed or refused:
        raise typer.Exit(InstrumentTrouble.exit_code if failed else WaitingForPerson.exit_code)


def _tested(
    lab: Path, settings: LabSettings, section: str, name: str, entry: DeviceEntry, runs: Path
) -> Tested:
    from instruments.bench import open_bench
    from instruments.errors import InstrumentError, SyringeDiffers

    with shared.remarks() as remarks:
        try:
            alone = shared.only(settings, [name])
            with open_bench(alone, shared.wire_folder(runs), lock_dir=shared.LOCKS) as bench:
                told, good = _describe(lab, bench, section, name, entry)
            state: State = "ok" if good else "failed"
        except InstrumentError as trouble:
            state, told = "failed", shared.plain_trouble(trouble, name)
            if isinstance(trouble, SyringeDiffers):
                told += f". Then: chiploop instruments confirm {lab} --pump {name}"
    return Tested(name, entry.make, state, told, tuple(dict.fromkeys(remarks)))


def _describe(
    lab: Path, bench: Bench, section: str, name: str, entry: DeviceEntry
) -> tuple[str, bool]:
    """Return what an opened device says of itself, and whether it can be used as it stands."""
    from instruments.drivers import DRIVERS

    of: dict[str, Any] = {
        "pumps": bench.pumps,
        "plate_readers": bench.readers,
        "impedance_meters": bench.meters,
        "valves": bench.valves,
    }
    driver = of[section].get(name)
    if driver is None:
        return f"{DRIVERS[entry.make].title}; on no port, so nothing was asked", True
    good = True
    parts = [_identity(driver) or DRIVERS[entry.make].title]
    if section == "pumps":
        status = driver.status()
        good = status.state != "alarm"
        state = f"alarm: {status.alarm}" if status.alarm else status.state
        parts.append(f"{state}, counter {status.infused_ul:g} uL")
        parts.append(set_as_lab_says(entry))
        if status.restarts is None:
            parts.append("can not prove that it kept its power")
    elif section == "valves":
        parts.append(f"stands at {driver.position()} of {driver.positions}")
    told = "; ".join(parts)
    if not good and isinstance(driver, shared.Refillable):
        told += f". Then: chiploop instruments prime {lab} --pump {name} --initialise --fill"
    return told, good


def _identity(driver: Any) -> str:
    if isinstance(driver, _Firmware):
        return driver.firmware
    return driver.identity if isinstance(driver, _Identity) else ""


def set_as_lab_says(entry: Any) -> str:
    """Return what a pump was found to be set for, once it has opened."""
    diameter_mm = entry.diameter_mm()
    content = f"{entry.content_ul() / 1000:g} mL"
    if diameter_mm:
        return f"set for {diameter_mm:g} mm, as lab.toml says ({content})"
    return f"as lab.toml says ({content})"


def _show(one: Tested, width: int) -> None:
    state = paint(f"{one.state:<9}", COLOURS[one.state])
    print(f"{state}  {one.name:<{width}}  {one.told}")
    for remark in one.remarks:
        print(f"{'':<9}  {'':<{width}}  note: {remark}")


def _show_end(
    lab: Path, found: list[Tested], unconfirmed: dict[str, tuple[str, ...]], runs: Path
) -> None:
    good = sum(one.state == "ok" for one in found)
    print(
        f"\nAs {lab} says: {good} of {shared.counted(len(found), 'device')}. No liquid was moved, "
        "no syringe was set."
    )
    if not (runs / shared.JOURNAL).is_file():
        print(
            f"{runs} has no journal, so no dose is known to be open; --runs names another folder."
        )
    for make, told in unconfirmed.items():
        print(f"Not confirmed on a real {make} yet: {len(told)} points; chiploop instruments list")


# --- confirm


def confirm(
    lab: Path = shared.LAB,
    pump: list[str] = shared.PUMPS,
    runs: Path = shared.RUNS,
    as_json: bool = JSON_OPTION,
) -> None:
    """Show what each pump is set for; set it as lab.toml says once a person has looked at it.

    A wrong diameter is a wrong dose, so somebody looks at the syringe or tubing and types yes; there
    is no option that does it unseen. Moves no liquid. Exit code 4 where a pump failed, 7 where a
    dose is open. With --json: {"ok", "pumps": [{"name", "make", "state", "told"}], "by"}.
    """
    from chiploop.record.journal import Journal
    from flows.cli.decide import os_login
    from instruments.drivers import load_lab_settings

    settings = load_lab_settings(lab)
    names = shared.named_pumps(settings, pump, lab)
    refuse_open_doses(runs, names)
    found = [_compared(settings, name, runs) for name in names]
    width = max((len(one.name) for one in found), default=0)
    differing = [one for one in found if one.state == "not asked"]
    if not as_json:
        for one in found:
            _show_compared(one, width)
    by = os_login()
    if differing:
        listed = "\n".join(f"  {one.name}: {_in_it(settings, one.name)}" for one in differing)
        shared.ask_yes(
            f"\nLook at what stands in {shared.counted(len(differing), 'pump')}. It must be what lab.toml says:\n"
            f"{listed}\nThe pumps are then set for it.",
            "a person has to look at the syringes and type yes in a terminal",
        )
    done = [one for one in found if one.state != "not asked"]
    for one in differing:
        result = _tested_after_confirming(settings, one, runs)
        if result.state == "ok":
            with Journal(runs / shared.JOURNAL) as journal:
                key = f"{shared.BENCH_RUN}/confirm/{one.name}"
                text = f"set for {_in_it(settings, one.name)}"
                journal.note(shared.BENCH_RUN, key, 0.0, text, by=by)
        if not as_json:
            _show(result, width)
        done.append(result)
    failed = [one for one in done if one.state == "failed"]
    if as_json:
        shown = [{k: v for k, v in vars(one).items() if k != "remarks"} for one in done]
        print_json({"ok": not failed, "pumps": shown, "by": by})
    else:
        good, all_pumps = len(done) - len(failed), shared.counted(len(done), "pump")
        print(f"\nSet as {lab} says: {good} of {all_pumps}. No liquid was moved.")
    if failed:
        raise typer.Exit(InstrumentTrouble.exit_code)


def refuse_open_doses(runs: Path, pumps: Iterable[str]) -> None:
    """Raise WaitingForPerson where a dose of one of these pumps is open."""
    told = [f"{pump}: {dose.told(pump)}" for pump, dose in shared.open_doses(runs, pumps).items()]
    if told:
        raise WaitingForPerson("nothing was sent:\n  " + "\n  ".join(told))


def _compared(settings: LabSettings, name: str, runs: Path) -> Tested:
    """Return how one pump is set; "not asked" where it differs and a person must look first."""
    from instruments.bench import open_bench
    from instruments.errors import InstrumentError, SyringeDiffers

    entry = settings.pumps[name]
    with shared.remarks() as remarks:
        try:
            alone = shared.only(settings, [name])
            with open_bench(alone, shared.wire_folder(runs), lock_dir=shared.LOCKS):
                told, state = set_as_lab_says(entry), "ok"
        except SyringeDiffers as differs:
            told, state = shared.plain_trouble(differs, name), "not asked"
        except InstrumentError as trouble:
            told, state = shared.plain_trouble(trouble, name), "failed"
    return Tested(name, entry.make, state, told, tuple(remarks))  # type: ignore[arg-type]


def _tested_after_confirming(settings: LabSettings, one: Tested, runs: Path) -> Tested:
    from instruments.bench import open_bench
    from instruments.errors import InstrumentError

    with shared.remarks() as remarks:
        try:
            with open_bench(
                shared.only(settings, [one.name]),
                shared.wire_folder(runs),
                confirm_syringes=True,
                lock_dir=shared.LOCKS,
            ):
                told = f"now {set_as_lab_says(settings.pumps[one.name])}; read back"
            return Tested(one.name, one.make, "ok", told, tuple(remarks))
        except InstrumentError as trouble:
            told = shared.plain_trouble(trouble, one.name)
            return Tested(one.name, one.make, "failed", told, tuple(remarks))


def _show_compared(one: Tested, width: int) -> None:
    word = {"ok": "as it is", "failed": "failed", "not asked": "DIFFERS"}[one.state]
    print(f"{paint(f'{word:<9}', COLOURS[one.state])}  {one.name:<{width}}  {one.told}")


def _in_it(settings: LabSettings, name: str) -> str:
    """Return what lab.toml says stands in a pump, for a person who looks at it."""
    entry: Any = settings.pumps[name]
    diameter_mm = entry.diameter_mm()
    if diameter_mm:
        return f"a {entry.content_ul() / 1000:g} mL syringe, {diameter_mm:g} mm inside"
    tubing = {k: v for k, v in entry.model_dump().items() if k == "tubing_id_mm"}
    return f"tubing of {tubing['tubing_id_mm']:g} mm inside" if tubing else "as lab.toml says"
