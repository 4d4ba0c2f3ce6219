"""Plates that are read elsewhere and come as files: sent away once, waited for, taken once.

Belongs here: one plate's way from the request to its readouts, and what is said while its file is not there. Not
here: kinds of files (chiploop.file_kinds), when a file is finished (export_watch), what the pumps do meanwhile
(closed_loop), what a person says of a file that will not come (cli.lost).

A plate has its label and deadline on record before anybody is asked for it, so an interrupted run asks for the
same plate again and keeps its deadline. The file is copied into the run's store and on record before it is used;
what is kept is used again and not looked for. A file that is not there by its deadline is a state of the run: it
is told, and a person brings it, or says that it is lost. It is never a value.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from chiploop.errors import FileNotValid, WaitingForPerson
from chiploop.file_kinds import FILE_KINDS, FileKind, plate_label
from chiploop.measurement import Readout
from chiploop.plan import PlannedPlate, plate_map
from chiploop.record.progress import ProgrammeProgress
from chiploop.record.rows import RawFile
from flows import perfusion, tasks
from flows.clock import refuse_when_stopped
from flows.export_watch import Watch, look
from flows.fault_points import reached
from flows.laboratory import Laboratory
from flows.late_plates import LATE, LOST, NOTED, late_plates
from flows.run_names import step_name

MISSING, REFUSED = "file missing", "file refused"
"""Kinds of events on record, as ``NOTED``, ``LOST``, ``LATE``."""


@dataclass(frozen=True)
class AwaitedPlate:
    """A plate whose file has not been used yet."""

    planned: PlannedPlate
    kind_name: str
    label: str
    """What stands on the plate, and in its file as name or barcode."""
    deadline_h: float
    """Study time."""

    @property
    def kind(self) -> FileKind:
        """The kind of its file."""
        return FILE_KINDS[self.kind_name]

    @property
    def names(self) -> tuple[str, ...]:
        """What its files are called by: its label, or of images one name each."""
        return self.kind.names(self.label, self.planned.wells)

    def file_kind(self, name: str) -> str:
        """Return the kind of the raw file on record that is called so."""
        what = f"image{name.removeprefix(self.label)}" if name != self.label else "reader export"
        return f"{what} of {self.planned.plate_id}"

    @property
    def thing(self) -> str:
        """What is awaited, in a word."""
        return "plate" if self.names == (self.label,) else "image set"


@dataclass
class Folder:
    """What is known of one folder between two looks."""

    path: Path
    watch: Watch = field(default_factory=Watch)
    finished: dict[str, tuple[bytes, Any]] = field(default_factory=dict)
    """Name -> content and what was read from it, of whole files."""


def send_plates(lab: Laboratory, cycle: int, window_h: tuple[float, float]) -> None:
    """Send away every plate of a cycle that is read elsewhere, each once."""
    for assay, settings in lab.study.assays.items():
        if settings.export is not None:
            send_plate(lab, cycle, assay, window_h)


@task(
    name="send plate away",
    task_run_name=step_name("send plate"),
    cache_policy=NO_CACHE,
    persist_result=False,
)
def send_plate(lab: Laboratory, cycle: int, assay: str, window_h: tuple[float, float]) -> None:
    """Put a plate's label and deadline on record and have it laid out and read elsewhere."""
    awaited = noted(lab, cycle, assay, window_h)
    if is_done(lab, awaited, cycle):
        return
    reached("plate_noted")
    asked = asked_for(lab, awaited)
    tasks.keep(lab, f"{awaited.planned.plate_id}.json", "plate map", asked)
    plates = lab.folder / "plates"
    plates.mkdir(exist_ok=True)
    text = json.dumps(asked, indent=1)
    (plates / f"{awaited.planned.plate_id}.json").write_text(text, encoding="utf-8")
    folder = lab.file_folders[awaited.kind_name]
    lab.technician.send_plate(asked, awaited.kind_name, folder)
    said = f"its {awaited.kind.title} with the name {awaited.label} is"
    if awaited.names != (awaited.label,):
        said = f"{len(awaited.names)} files ({awaited.kind.title}), named {awaited.names[0]} and so on, are"
    lab.say(
        cycle,
        f"{awaited.thing} {awaited.planned.plate_id} is read elsewhere: {said} awaited in {folder} until "
        f"{awaited.deadline_h:g} h",
    )
    reached("plate_sent")


def noted(lab: Laboratory, cycle: int, assay: str, window_h: tuple[float, float]) -> AwaitedPlate:
    """Return a plate as it is on record; it is put there where it is not."""
    planned = plate_map(lab.study, assay, cycle, window_h)
    settings = lab.study.assays[assay]
    assert settings.export is not None, assay
    label = plate_label(lab.run_id, planned.plate_id)
    for event in lab.record.events(lab.run_id, NOTED):
        if event.content["label"] == label:
            return AwaitedPlate(planned, settings.export, label, event.content["deadline_h"])
    now_h = lab.clock.now_h()
    content = {
        "plate": planned.plate_id,
        "label": label,
        "kind": settings.export,
        "deadline_h": now_h + settings.awaited_h,
        "cycle": cycle,
        "assay": assay,
        "window_h": list(window_h),
    }
    lab.record.add_event(lab.run_id, NOTED, now_h, content, key=label)
    return AwaitedPlate(planned, settings.export, label, now_h + settings.awaited_h)


def asked_for(lab: Laboratory, awaited: AwaitedPlate) -> dict[str, Any]:
    """Return the plate as the technician gets it: wells, label and wavelengths."""
    kit = lab.study.assays[awaited.planned.assay].kit
    told: dict[str, Any] = {"label": awaited.label, "wavelengths_nm": list(kit.wavelengths_nm)}
    if kit.excitation_wavelength_nm is not None:
        told["excitation_nm"] = round(kit.excitation_wavelength_nm)
    if kit.imaging is not None:
        told |= {"names": list(awaited.names), "channels": list(kit.imaging.channels)}
    return awaited.planned.as_json() | told


def is_done(lab: Laboratory, awaited: AwaitedPlate, cycle: int) -> bool:
    """Return whether nobody waits for a plate: it is read, or a person has said that it is lost or comes later."""
    plate = awaited.planned.plate_id
    if any(r.plate == plate for r in lab.record.readouts(lab.run_id)):
        return True
    said = (*lab.record.events(lab.run_id, LOST), *lab.record.events(lab.run_id, LATE))
    return any(event.content["plate"] == plate for event in said)


def use_rest_of_lost(lab: Laboratory, cycle: int, window_h: tuple[float, float]) -> None:
    """Derive what came of a set of images before a person said that the rest of it is lost."""
    lost = {event.content["plate"] for event in lab.record.events(lab.run_id, LOST)}
    read = {r.plate for r in lab.record.readouts(lab.run_id, cycle)}
    for assay, settings in lab.study.assays.items():
        if settings.export is not None:
            awaited = noted(lab, cycle, assay, window_h)
            kept = kept_files(lab, awaited)
            if awaited.planned.plate_id in lost - read and kept:
                derive_kept(lab, awaited, kept, cycle)


def readouts_of_files(lab: Laboratory, cycle: int) -> list[Readout]:
    """Return the readouts that a cycle has from files: its own plates' in the study's order, then late ones.

    What a late plate says is on record in the cycle that learns from it; its times are those of its effluent.
    """
    readouts = lab.record.readouts(lab.run_id, cycle)
    plates = [
        plate_map(lab.study, assay, cycle).plate_id
        for assay, settings in lab.study.assays.items()
        if settings.export is not None
    ]
    said = [event.content["plate"] for event in lab.record.events(lab.run_id, LATE)]
    plates += [plate for plate in said if plate not in plates]
    return [r for plate in plates for r in readouts if r.plate == plate]


def take_late(lab: Laboratory, cycle: int, folders: dict[str, Folder]) -> None:
    """Use the files of late plates that are there by now, before a cycle is fitted; say which are still to come.

    A cycle that is fitted already learned from what was there then.
    """
    if any(one.cycle == cycle for one in lab.record.calibrations(lab.run_id)):
        return
    for late in late_plates(lab.record, lab.run_id):
        if late.cycle == cycle:
            continue
        awaited = noted(lab, late.cycle, late.assay, late.window_h)
        for _ in range(2 if lab.simulated else 1):
            look_into(lab, cycle, folders[awaited.kind_name], awaited.kind)
        is_there = use_file(lab, awaited, cycle, folders[awaited.kind_name])
        told = f"is here now: cycle {cycle} learns from it" if is_there else "is still to come"
        lab.say(cycle, f"{awaited.thing} {late.plate_id}, which comes later, {told}")


@task(
    name="wait for files",
    task_run_name=step_name("wait for files"),
    cache_policy=NO_CACHE,
    persist_result=False,
)
def wait_for_files(
    lab: Laboratory,
    hold: Sequence[ProgrammeProgress],
    cycle: int,
    window_h: tuple[float, float],
    until_h: float,
) -> tuple[list[ProgrammeProgress], bool]:
    """Wait for the files of a cycle while a hold runs; return the hold and whether all are dealt with.

    Returns at ``until_h`` (study time) too. Raises WaitingForPerson where a file is not there by its deadline and
    waiting on would not keep a chip alive.
    """
    running = list(hold)
    folders = {kind: Folder(path) for kind, path in lab.file_folders.items()}
    while True:
        open_plates = look_for_files(lab, cycle, window_h, folders)
        if not open_plates:
            use_rest_of_lost(lab, cycle, window_h)
            take_late(lab, cycle, folders)
            run = lab.record.run(lab.run_id)
            if run is not None and run.state != "running":
                lab.record.add_state(lab.run_id, "running", lab.clock.now_h())
            return running, True
        refuse_when_stopped(lab.clock.stopped_by())
        now_h = lab.clock.now_h()
        late = [one for one in open_plates if now_h >= one.deadline_h - 1e-9]
        if late:
            tell_missing(lab, late, cycle, until_h)
        if now_h >= until_h - 1e-9:
            return running, False
        deadlines_h = [one.deadline_h for one in open_plates if one not in late]
        next_h = min(until_h, next_look_h(lab), *deadlines_h)
        if running:
            running = perfusion.watch_until(lab, running, next_h, cycle)
        else:
            lab.clock.wait_until_h(next_h)


def next_look_h(lab: Laboratory) -> float:
    """Return when the folders are looked at next: at whole multiples, so that a resumed run keeps the times."""
    return (math.floor(lab.clock.now_h() / lab.look_every_h + 1e-9) + 1) * lab.look_every_h


def look_for_files(
    lab: Laboratory, cycle: int, window_h: tuple[float, float], folders: dict[str, Folder]
) -> list[AwaitedPlate]:
    """Use every file that is there; return the plates that are still awaited."""
    open_plates = [
        awaited
        for assay, settings in lab.study.assays.items()
        if settings.export is not None
        and not is_done(lab, awaited := noted(lab, cycle, assay, window_h), cycle)
    ]
    for kind in dict.fromkeys(one.kind_name for one in open_plates):
        # Virtual time stands still between two looks, so what stands still between them is finished.
        for _ in range(2 if lab.simulated else 1):
            look_into(lab, cycle, folders[kind], FILE_KINDS[kind])
    left = []
    for awaited in open_plates:
        if not use_file(lab, awaited, cycle, folders[awaited.kind_name]):
            left.append(awaited)
    return left


def look_into(lab: Laboratory, cycle: int, folder: Folder, kind: FileKind) -> None:
    """Look at a folder once; keep in mind what is finished, tell of what can not be used."""
    contents: dict[str, bytes] = {}

    def read(data: bytes, name: str) -> Any:
        contents[name] = data
        return kind.read(data, name)

    try:
        for event in look(folder.path, folder.watch, None, read, kind.largest_bytes):
            if event.what == "taken":
                folder.finished[event.name] = (contents[event.name], event.export)
                continue
            folder.finished.pop(event.name, None)
            if event.what in ("waiting", "refused"):
                lab.say(cycle, f"{event.name} {event.what}: {event.told}")
    except OSError as trouble:
        lab.say(cycle, f"{folder.path} can not be looked into: {trouble.strerror or trouble}")
    for name in folder.finished.keys() - folder.watch.seen.keys():
        del folder.finished[name]


def use_file(lab: Laboratory, awaited: AwaitedPlate, cycle: int, folder: Folder) -> bool:
    """Derive a plate's readouts once every file of it is kept; return whether they are."""
    kept = kept_files(lab, awaited)
    for name in awaited.names:
        if name not in kept and (file := find_file(lab, awaited, name, cycle, folder)):
            kept[name] = file
    if len(kept) < len(awaited.names):
        return False
    derive_kept(lab, awaited, kept, cycle)
    return True


def kept_files(lab: Laboratory, awaited: AwaitedPlate) -> dict[str, RawFile]:
    """Return what was kept of a plate: the name that a file is called by -> the file."""
    by_kind = {file.kind: file for file in lab.record.raw_files(lab.run_id)}
    return {
        name: by_kind[awaited.file_kind(name)]
        for name in awaited.names
        if awaited.file_kind(name) in by_kind
    }


def find_file(
    lab: Laboratory, awaited: AwaitedPlate, name: str, cycle: int, folder: Folder
) -> RawFile | None:
    """Keep the finished file that is called so, where it is there and can be used."""
    own = {
        file: one for file, one in folder.finished.items() if name in awaited.kind.labels(one[1])
    }
    if len({data for data, _ in own.values()}) > 1:
        told = f"{' and '.join(sorted(own))} are both of it and differ; leave one of them there"
        tell_refused(lab, awaited, cycle, " and ".join(sorted(own)), told)
        return None
    for file, (data, content) in sorted(own.items()):
        kept = keep_file(lab, awaited, name, cycle, file, data, content)
        if kept is not None and awaited.names != (awaited.label,):
            del folder.finished[file]  # images are large; what is kept is read from the store
        return kept
    return None


def keep_file(
    lab: Laboratory,
    awaited: AwaitedPlate,
    name: str,
    cycle: int,
    file: str,
    data: bytes,
    content: Any,
) -> RawFile | None:
    """Put a file into the store and on record; None, with the reason told, where it is not what is awaited."""
    kit = lab.study.assays[awaited.planned.assay].kit
    plate_id, wells = awaited.planned.plate_id, awaited.planned.wells
    now_h = lab.clock.now_h()
    try:
        signal = awaited.kind.signal(content, name, plate_id, now_h, kit)
        problems = awaited.kind.check(signal, wells, kit)
        sha256 = lab.raw.put(data)
        tasks.refuse_used_elsewhere(lab, file, sha256, awaited.file_kind(name), plate_id)
    except FileNotValid as trouble:
        problems = (str(trouble),)
    if problems:
        tell_refused(lab, awaited, cycle, file, "; ".join(problems))
        return None
    kept = RawFile(lab.run_id, sha256, file, awaited.file_kind(name), len(data), now_h)
    tasks.on_record_once(lab, kept)
    reached("file_kept")
    lab.say(cycle, f"{awaited.thing} {plate_id}: {file} is taken")
    return kept


def derive_kept(
    lab: Laboratory, awaited: AwaitedPlate, kept: Mapping[str, RawFile], cycle: int
) -> None:
    """Put on record what the kept files of a plate say; names in their order on the map."""
    kit = lab.study.assays[awaited.planned.assay].kit
    plate_id, wells, kind = awaited.planned.plate_id, awaited.planned.wells, awaited.kind
    signals = []
    for name in awaited.names:
        if name in kept:
            file = kept[name]
            content = kind.read(lab.raw.get(file.sha256), file.name)
            signals.append(kind.signal(content, name, plate_id, file.time_h, kit))
    signal = kind.joined(signals, plate_id, awaited.label)
    tasks.derive(lab, signal, wells, kit, cycle, awaited.planned.cycle)


def tell_refused(lab: Laboratory, awaited: AwaitedPlate, cycle: int, name: str, why: str) -> None:
    """Put on record, once for each reason, that a file is not used for a plate, and say so."""
    content = {"plate": awaited.planned.plate_id, "file": name, "why": why}
    known = [event.content for event in lab.record.events(lab.run_id, REFUSED)]
    if content in known:
        return
    lab.record.add_event(lab.run_id, REFUSED, lab.clock.now_h(), content)
    lab.say(
        cycle,
        f"{name} IS NOT USED for {awaited.thing} {awaited.planned.plate_id}: {why}. Nothing was learned from it; "
        f"the right file is awaited until {awaited.deadline_h:g} h",
    )


def tell_missing(lab: Laboratory, late: Sequence[AwaitedPlate], cycle: int, until_h: float) -> None:
    """Put on record and tell that files are not there by their deadline.

    Raises WaitingForPerson in a virtual lab, whose time would run away, and after the last exposure.
    """
    now_h = lab.clock.now_h()
    told = {event.content["label"] for event in lab.record.events(lab.run_id, MISSING)}
    said = "; ".join(missing_words(lab, late))
    for one in late:
        if one.label not in told:
            content = {
                "plate": one.planned.plate_id,
                "label": one.label,
                "deadline": f"{one.deadline_h:g} h of the study",
            }
            lab.record.add_event(lab.run_id, MISSING, now_h, content, key=one.label)
    lab.record.add_state(lab.run_id, "waiting for a person", now_h)
    if any(one.label not in told for one in late):
        lab.say(cycle, f"WAITING FOR A PERSON: {said}")
    if lab.simulated or math.isinf(until_h):
        raise WaitingForPerson(
            f"{said}. Nothing is dosed meanwhile, and no value takes its place. Put the file there and go on "
            f"with chiploop resume {lab.run_id}, or say that it will not come: chiploop lost {lab.run_id}, "
            "or that it comes later: the same with --comes-later"
        )


def missing_words(lab: Laboratory, late: Sequence[AwaitedPlate]) -> Iterator[str]:
    """Yield for each plate what is missing where."""
    for one in late:
        folder = lab.file_folders[one.kind_name]
        which = f"label {one.label}"
        if one.names != (one.label,):
            kept = kept_files(lab, one)
            which = "named " + ", ".join(name for name in one.names if name not in kept)
        yield (
            f"no {one.kind.title} of {one.thing} {one.planned.plate_id} ({which}) in {folder} by "
            f"{one.deadline_h:g} h"
        )
