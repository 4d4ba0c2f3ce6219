"""Stopping what any process of this computer has running, also where that process does not answer.

Belongs here: finding who holds which port, asking (`stop_desk`), and taking over. Not here: what
stops a pump (its driver).

An owner that answers stops its own pumps: it knows what they are doing. One that says nothing in
time is hung: it is ended, the kernel gives its locks back, and the pumps are stopped from here, with
the settings in the lock file. A process is ended only while it holds the lock and is the very
process that wrote it there; a process id that was used again is somebody else, and left alone.
"""

from __future__ import annotations

import getpass
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil  # type: ignore[import-untyped]

from instruments.bench import bench_ports
from instruments.drivers import DRIVERS
from instruments.errors import InstrumentError, PortInUse
from instruments.lab_settings import LabSettings
from instruments.port_identity import lock_name_now
from instruments.port_lock import (
    HeldPort,
    held_port,
    held_ports,
    is_locked,
    lock_directory,
    same_process,
)
from instruments.stop_desk import (
    ANSWER,
    HEARD,
    Stopped,
    StopRequest,
    delete,
    read_answer,
    stop_folder,
    stop_pumps,
    write_request,
)
from instruments.transport import PortSettings, SerialTransport
from instruments.wire_recorder import WireRecorder

DEADLINE_S: Final = 2.0
"""An owner that has not said within this that it has heard is hung."""
LONGEST_S: Final = 60.0
"""An owner that is still busy after this is hung too, whatever it says."""
LOCK_FREE_S: Final = 10.0
"""How long the kernel may take to give a lock back, or another stop to be done with a port."""
_WATCH_S: Final = 0.003
_DYING_S: Final = 0.5


@dataclass(frozen=True)
class StopReport:
    """What became of a stop at one owner, or at one port that nobody held."""

    ports: tuple[str, ...]
    """As their owner calls them."""
    run: str
    """Folder of the run that they served; empty where it is not known."""
    by: str
    """Who stopped the pumps, for people."""
    confirmed: tuple[str, ...] = ()
    """Pumps that say themselves that they stand still."""
    may_still_run: Mapping[str, str] = field(default_factory=dict)
    """Pump -> why nobody knows; a person must go there."""
    note: str = ""
    """What else a person should know."""
    took_s: float = 0.0

    @property
    def good(self) -> bool:
        """True where no pump may still run."""
        return not self.may_still_run


@dataclass(frozen=True)
class _Port:
    """A port to be stopped from here: as a lock file says, or a lab.toml."""

    url: str
    settings: Mapping[str, Any]
    devices: Mapping[str, Mapping[str, Any]]
    record: Path | None

    @property
    def pumps(self) -> list[str]:
        return [name for name, device in self.devices.items() if device["kind"] == "pump"]


def request_stop(
    *,
    run: Path | None = None,
    lab: LabSettings | None = None,
    why: str = "",
    deadline_s: float = DEADLINE_S,
    longest_s: float = LONGEST_S,
    directory: Path | None = None,
    wire_dir: Path | None = None,
) -> list[StopReport]:
    """Stop every pump behind every port that is held on this computer; return what became of it.

    ``run`` leaves only the ports of one run's folder, ``lab`` only those of one bench; a port of
    ``lab`` that nobody holds is opened and stopped from here, with its record in ``wire_dir``.
    Owners are asked at the same time. Never raises for what a device or an owner does; look at
    ``may_still_run``.
    """
    directory = directory or lock_directory()
    folder = stop_folder(directory)
    # Who holds a port without saying what is on it (a scan) moves nothing and hears nothing.
    held = [port for port in held_ports(directory) if "devices" in port.about]
    direct: list[_Port] = []
    if run is not None:
        held = [port for port in held if _same_folder(str(port.about.get("run", "")), run)]
    if lab is not None:
        wanted = {
            lock_name_now(port.url): _Port(
                port.url,
                asdict(port.settings),
                port.devices,
                wire_dir / f"{port.name}.jsonl" if wire_dir else None,
            )
            for port in bench_ports(lab)
        }
        held = [port for port in held if port.name in wanted]
        free = set(wanted) - {port.name for port in held}
        direct = [port for name, port in wanted.items() if name in free and port.pumps]
    owners: dict[tuple[int, float], list[HeldPort]] = {}
    for port in held:
        owners.setdefault(port.owner, []).append(port)
    asked_by = f"process {os.getpid()} ({_user()})"
    stop = _Stop(asked_by, why, deadline_s, longest_s, directory, folder)
    reports: list[StopReport] = []

    def add(work: Callable[[], StopReport], ports: Sequence[_Port]) -> None:
        begun = time.monotonic()
        try:
            report = work()
        except Exception as trouble:  # no pump may be left out of the reports
            told = {name: f"the stop itself failed: {trouble!r}" for p in ports for name in p.pumps}
            report = StopReport(tuple(p.url for p in ports), "", "nobody", (), told)
        reports.append(replace(report, took_s=time.monotonic() - begun))

    threads = [
        threading.Thread(target=add, args=(partial(stop.owner, ports), [*map(_taken_over, ports)]))
        for ports in owners.values()
    ]
    threads += [
        threading.Thread(target=add, args=(partial(stop.from_here, [port], ""), [port]))
        for port in direct
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(reports, key=lambda report: report.ports)


@dataclass(frozen=True)
class _Stop:
    """One stop under way, as seen by whoever asked for it."""

    asked_by: str
    why: str
    deadline_s: float
    longest_s: float
    directory: Path
    folder: Path

    def owner(self, ports: Sequence[HeldPort]) -> StopReport:
        """Have one owner stop its pumps, or do it in its place."""
        pid = ports[0].pid
        if all(port.about.get("stopping") for port in ports):  # another stop, at work just now
            end = time.monotonic() + self.longest_s
            while any(_still(port) for port in ports) and time.monotonic() < end:
                time.sleep(_WATCH_S)
            kept = any(_still(port) for port in ports)
            hung = f"was stopping it and was not done after {self.longest_s:g} s" if kept else ""
            return self._in_place_of(ports, hung)
        answer, why_not = self._ask(ports)
        if answer is None:
            return self._in_place_of(ports, hung=why_not)
        return _report(ports, f"process {pid}, which holds the port", answer)

    def from_here(self, ports: Sequence[_Port], note: str, run: str = "") -> StopReport:
        """Open ports that are free, and stop their pumps."""
        with ThreadPoolExecutor(max(1, len(ports))) as at_once:
            stopped = sum(at_once.map(self._open_and_stop, ports), Stopped())
        return StopReport(
            tuple(port.url for port in ports),
            run,
            f"process {os.getpid()}, which opened the port for it",
            stopped.confirmed,
            stopped.may_still_run,
            note,
        )

    def _ask(self, ports: Sequence[HeldPort]) -> tuple[Stopped | None, str]:
        """Return the owner's answer; or None, and what is wrong with the owner."""
        request = StopRequest(
            f"{time.time_ns()}-{os.getpid()}-{uuid.uuid4().hex[:8]}",
            ports[0].owner,
            frozenset(port.name for port in ports),
            self.asked_by,
            self.why,
        )
        try:
            mine = write_request(self.folder, request)
        except OSError as trouble:  # a full disk is no reason to let a pump run
            return None, f"could not be asked ({trouble.strerror})"
        heard, answer = (self.folder / f"{request.id}{kind}" for kind in (HEARD, ANSWER))
        begun = last_sign_s = time.monotonic()
        sign = 0
        try:
            while True:
                if (found := read_answer(answer)) is not None:
                    return found, ""
                now = time.monotonic()
                try:
                    fresh = heard.stat().st_mtime_ns
                except OSError:
                    fresh = 0
                if fresh != sign:
                    sign, last_sign_s = fresh, now
                if now - last_sign_s > self.deadline_s:
                    said = "heard the request and fell silent" if sign else "did not answer"
                    return None, f"{said} for {self.deadline_s:g} s"
                if now - begun > self.longest_s:
                    return None, f"was not done after {self.longest_s:g} s"
                if not same_process(*request.owner):
                    return None, ""
                if not any(_still(port) for port in ports):  # left its bench just now
                    return None, ""
                time.sleep(_WATCH_S)
        finally:
            delete(mine)

    def _in_place_of(self, ports: Sequence[HeldPort], hung: str) -> StopReport:
        """Stop from here what an owner has on its ports, once it is out of the way."""
        pid, run = ports[0].pid, str(ports[0].about.get("run", ""))
        taken = [_taken_over(port) for port in ports]
        if not any(port.pumps for port in taken):
            note = f"process {pid} {hung or 'had given its ports back'}; it has no pump, so be it"
            return StopReport(tuple(port.url for port in ports), run, "nobody", note=note)
        note = f"process {pid} had given its ports back" if not hung else ""
        if hung:
            kept = _end([port for port in ports if _still(port)])
            if kept:
                note = f"process {pid} {hung}, and {kept}"
                told = {name: note for port in taken for name in port.pumps}
                return StopReport(tuple(p.url for p in ports), run, "nobody", (), told, note)
            note = f"process {pid} {hung} and was ended"
        if any(port.about.get("simulated") for port in ports):
            return StopReport(
                tuple(port.url for port in ports),
                run,
                "the end of its owner",
                note="; ".join(filter(None, [note, "the virtual lab ended with its owner"])),
            )
        report = self.from_here([port for port in taken if port.pumps], note, run)
        return replace(report, ports=tuple(port.url for port in ports))

    def _open_and_stop(self, port: _Port) -> Stopped:
        recorder = self._recorder(port)
        try:
            try:
                transport = self._open(port, recorder)
            except (InstrumentError, TypeError) as trouble:  # TypeError: another version's settings
                return Stopped((), {name: str(trouble) for name in port.pumps})
            try:
                why = f": {self.why}" if self.why else ""
                transport.note(f"opened only to stop its pumps, for {self.asked_by}{why}")
                pumps: dict[str, Any] = {}
                troubles: dict[str, str] = {}
                for name in port.pumps:
                    try:
                        pumps[name] = _driver(name, transport, port.devices[name])
                    except Exception as trouble:  # another version's settings: tell, stop the rest
                        troubles[name] = f"no driver could be made for it: {trouble}"
                return stop_pumps(pumps, dict.fromkeys(pumps, transport)) + Stopped((), troubles)
            finally:
                transport.close()
        finally:
            recorder.close()

    def _open(self, port: _Port, recorder: WireRecorder) -> SerialTransport:
        """Open a port as soon as the kernel, or another stop, gives it free."""
        end = time.monotonic() + LOCK_FREE_S
        while True:
            try:
                return SerialTransport(
                    port.url,
                    settings=PortSettings(**port.settings),
                    recorder=recorder,
                    lock_dir=self.directory,
                    about={"devices": port.devices, "stopping": True},
                )
            except PortInUse:
                if time.monotonic() > end:
                    raise
                time.sleep(_WATCH_S)

    def _recorder(self, port: _Port) -> WireRecorder:
        """Go on in the owner's record; where that can not be opened, in one of our own."""
        if port.record is not None and port.record.suffix == ".jsonl":
            try:
                return WireRecorder(port.record)
            except OSError:
                pass
        return WireRecorder(self.folder / f"{lock_name_now(port.url)}-{os.getpid()}.jsonl")


def _taken_over(port: HeldPort) -> _Port:
    record = port.about.get("record")
    return _Port(
        port.url,
        port.about.get("settings") or {},
        port.about.get("devices") or {},
        Path(str(record)) if record else None,
    )


def _driver(name: str, transport: SerialTransport, device: Mapping[str, Any]) -> Any:
    """Return the driver of a device as its owner had it, from JSON; sends nothing."""
    make = DRIVERS[device["make"]]
    entry = make.entry.model_validate_json(json.dumps(device["entry"]))
    return make.build(name, transport, entry, time.sleep)


def _still(port: HeldPort) -> bool:
    """Return whether the port is held by whom it was held by."""
    now = held_port(port.path)
    return now is not None and now.owner == port.owner


def _end(ports: Iterable[HeldPort]) -> str:
    """End the owner of these ports; return why it could not be done, empty where it is done.

    An owner that has gone, or that does not hold the lock, is not touched.
    """
    for port in ports:
        if port.pid == os.getpid():
            return "is the one that asks; nobody was ended"
        end = time.monotonic() + _DYING_S
        while is_locked(port.path) and same_process(*port.owner):
            try:
                process = psutil.Process(port.pid)
                if _has_open(process, port.path) and same_process(*port.owner):
                    process.kill()  # psutil looks once more that it is the same process
                    break
            except psutil.NoSuchProcess:
                break
            except psutil.AccessDenied:
                return "may not be ended by this user; end it, or stop its pumps by hand"
            if time.monotonic() > end:  # and not just dying, ended by another stop
                return "is not the one that has its lock file open; nobody was ended"
            time.sleep(_WATCH_S)
    return ""


def _has_open(process: psutil.Process, path: Path) -> bool:
    if os.name == "nt":
        return True  # asking there can hang; id and start have to do
    return any(
        os.path.realpath(file.path) == os.path.realpath(path) for file in process.open_files()
    )


def _report(ports: Sequence[HeldPort], by: str, stopped: Stopped) -> StopReport:
    return StopReport(
        tuple(port.url for port in ports),
        str(ports[0].about.get("run", "")),
        by,
        stopped.confirmed,
        stopped.may_still_run,
    )


def _same_folder(one: str, other: Path) -> bool:
    return bool(one) and os.path.realpath(one) == os.path.realpath(other)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such name for this user id
        return "unknown user"
