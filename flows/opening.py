"""Opening what a run works with, for the virtual lab and for a real one.

Belongs here: run folders and who works on them, lab.toml of the virtual lab, journal, record, bench;
all closed on the way out.
Not here: the flow (closed_loop), the command line (cli).
"""

from __future__ import annotations

import json
import platform
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from chiploop.connections import lines_that_may_feed
from chiploop.dosing import pump_name
from chiploop.errors import FileNotValid, InstrumentTrouble, WrongUse
from chiploop.models.facts import ModelFacts, facts_path
from chiploop.record.journal import Journal
from chiploop.record.raw_files import RawFileStore
from chiploop.record.record import Record
from chiploop.study import MODEL_FOLDER, STUDY_FILE, Study, load_study
from flows.clock import Clock, VirtualClock, WallClock
from flows.fault_points import reached
from flows.laboratory import Laboratory, Tell
from flows.mirroring import mirrored
from flows.record_place import place_of
from flows.reserving import reserved
from flows.run_owner import only_owner
from flows.stop_mark import lift_stop
from flows.technician import PersonAtTheBench, Technician, VirtualTechnician
from flows.whole_files import write_whole
from flows.wire_news import tell_last
from instruments.bench import open_bench
from instruments.drivers import load_lab_settings
from instruments.emulators.control import LabHandle, start_lab_process
from instruments.emulators.virtual_room import ports_of
from instruments.impedance_meters.manual_entry import in_run_folder
from instruments.lab_settings import LabSettings

SETTINGS_FILE, VIRTUAL_FOLDER, PREFECT_FOLDER = "lab.toml", "virtual_lab", "prefect"
VIRTUAL_WATCH_H, REAL_WATCH_H = 6.0, 0.1
"""Study time between two looks at pumps that run; virtual hours pass in milliseconds."""
VIRTUAL_LOOK_H = 0.5
"""Study time between two looks at a folder of a virtual lab."""
ARRIVING_FOLDER = "arriving"
"""Where the virtual lab puts its readers' exports, in the run's folder."""
FACTS_FILE = "run.json"


class OtherComputer(InstrumentTrouble):
    """The instruments of lab.toml belong to another computer."""

    code = "CL-312"


@dataclass(frozen=True)
class RunFiles:
    """A run's folder and what was decided when it began."""

    run_id: str
    folder: Path
    study: Study
    seed: int
    simulated: bool
    matched: bool
    token: str = ""
    """Tells it from a run of the same name elsewhere that is on the same record; empty in older runs."""

    @property
    def runs(self) -> Path:
        """The folder of all runs, with the record."""
        return self.folder.parent

    @property
    def journal(self) -> Path:
        """The action journal: of all real runs together, since they share pumps; of each virtual lab alone."""
        return (self.folder if self.simulated else self.runs) / "journal.sqlite"


def new_run(study: Study, runs: Path, seed: int, simulated: bool, matched: bool) -> RunFiles:
    """Make the folder of a new run, with frozen copies of the study and its model; return its files.

    The study's own file is kept by its whole path, so that a run can be resumed from anywhere.
    Raises WrongUse where the folder of the runs can not be written.
    """
    if study.source_path:
        study = study.model_copy(update={"source_path": str(Path(study.source_path).resolve())})
    taken, token = names_on_server(runs), secrets.token_hex(8)
    try:
        folder = _free_folder(runs, f"{date.today():%Y-%m-%d}_{study.name}", simulated, taken)
        reached("folder_made")
        text = freeze_model(study.tissue, folder / MODEL_FOLDER)
        relative = with_model_at(study, f"{MODEL_FOLDER}/{text.name}")
        (folder / STUDY_FILE).write_text(relative.model_dump_json(indent=1), encoding="utf-8")
        study = with_model_at(study, str(text))
        if study.source_path:
            shutil.copyfile(study.source_path, folder / "study.yaml")
        facts = {"seed": seed, "simulated": simulated, "matched": matched, "token": token}
        reached("study_frozen")
        write_whole(folder / FACTS_FILE, json.dumps(facts))
    except OSError as problem:
        raise WrongUse(
            f"the run can not be kept in {runs} ({problem.strerror}); "
            "name a folder that can be written with --runs. Nothing was started"
        ) from problem
    reached("run_described")
    return RunFiles(folder.name, folder.resolve(), study, seed, simulated, matched, token)


def names_on_server(runs: Path) -> frozenset[str]:
    """Return the names of all runs of a record on a server: other computers have runs there too.

    Asked before anything is made, so that a server that can not be reached is told first.
    """
    place = place_of(runs)
    if place.file is not None:
        return frozenset()
    with place.open() as record:
        return frozenset(run.run_id for run in record.runs())


def freeze_model(facts: ModelFacts, folder: Path) -> Path:
    """Copy a model's files and those of its hidden truth; return the copy of its text."""
    folder.mkdir()
    texts = [path for path in (Path(facts.path), facts.truth_path()) if path is not None]
    for text in texts:
        for file in (text, facts_path(text)):
            shutil.copyfile(file, folder / file.name)
    return (folder / texts[0].name).resolve()


def with_model_at(study: Study, text: str) -> Study:
    """Return the study with its model's text at another place."""
    tissue = study.tissue.model_copy(update={"path": text})
    return study.model_copy(update={"tissue": tissue})


def _free_folder(runs: Path, begin: str, simulated: bool, taken: Collection[str]) -> Path:
    """Make and return a folder for a run, with the first number that nobody has, here or on record."""
    runs.mkdir(parents=True, exist_ok=True)
    stem = begin + ("_sim" if simulated else "")
    number = 1
    while True:
        folder = runs / f"{stem}_{number}"
        try:
            if folder.name not in taken:
                folder.mkdir()
                return folder
        except FileExistsError:
            pass
        number += 1


def known_run(run: str, runs: Path) -> RunFiles:
    """Return the files of an earlier run by its id or folder.

    Raises WrongUse where there is none, FileNotValid where its files are damaged.
    """
    # a run of that name under --runs goes before a folder that happens to be called so here
    folder = runs / run if (runs / run / FACTS_FILE).is_file() else Path(run)
    if not run or not (folder / FACTS_FILE).is_file():
        names = sorted(path.parent.name for path in runs.glob(f"*/{FACTS_FILE}"))
        raise WrongUse(f"there is no run {run} in {runs}; there are: {', '.join(names) or 'none'}")
    folder = folder.resolve()
    study = load_study(folder / STUDY_FILE)
    try:
        facts = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
        return RunFiles(
            folder.name,
            folder,
            study,
            facts["seed"],
            facts["simulated"],
            facts["matched"],
            facts.get("token", ""),
        )
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise FileNotValid(
            f"{folder / FACTS_FILE} is damaged ({problem}); nothing was sent to any instrument"
        ) from problem


@contextmanager
def open_laboratory(
    files: RunFiles,
    settings_path: Path | None,
    tell: Tell,
    beat: Callable[[], None] = lambda: None,
) -> Iterator[Laboratory]:
    """Open record, journal, clock and bench of a run; the virtual lab where it is simulated.

    ``beat`` is called whenever the flow waits or looks at something: it is at work.

    Raises
    ------
    RunInUse
        Another process works on this run.
    FileNotValid
        lab.toml, record or journal can not be used.
    InstrumentError
        Naming every port and device that could not be opened; nothing was sent to the others.
    """
    with ExitStack() as stack:
        folder, study = files.folder, files.study
        stack.enter_context(only_owner(folder))
        beat()  # the run is this process's from here on
        lift_stop(folder)  # not before: until it is taken up, its pumps are to stand
        reached("run_owned")
        place = place_of(files.runs)
        record = stack.enter_context(place.open())
        place.keep()
        reached("record_opened")
        journal = stack.enter_context(Journal(files.journal))
        reached("journal_opened")
        clock: Clock
        technician: Technician
        if files.simulated:
            lab = stack.enter_context(virtual_lab(files))
            clock, technician = VirtualClock(lab.control), VirtualTechnician(lab.control)
            settings_path = folder / SETTINGS_FILE
            arriving = folder / ARRIVING_FOLDER
            arriving.mkdir(exist_ok=True)
            write_whole(settings_path, virtual_settings(study, lab, arriving))
            reached("lab_opened")
        else:
            if settings_path is None:
                raise WrongUse("a run needs the lab.toml of its instruments: --lab FILE")
            if settings_path.resolve() != (folder / SETTINGS_FILE).resolve():
                shutil.copyfile(settings_path, folder / SETTINGS_FILE)
            clock, technician = WallClock(folder), PersonAtTheBench()
        settings = in_run_folder(load_lab_settings(settings_path), folder)
        refuse_elsewhere(settings, settings_path)
        fits_the_study(settings, study, settings_path)
        put_on_record(record, files)
        reached("run_on_record")
        stack.enter_context(mirrored(place, files.journal))
        reserve = stack.enter_context(reserved(record, journal, files, settings, clock))
        opened: list[Laboratory] = []
        # after the bench is closed: no pump's stop waits for the record
        stack.callback(tell_last, opened)
        # The virtual lab's syringes are what its study says; a real one is looked at by a person.
        bench = stack.enter_context(
            open_bench(
                settings,
                folder / "wire",
                confirm_syringes=files.simulated,
                run=folder,
                simulated=files.simulated,
            )
        )

        reached("bench_opened")

        def stopped_by() -> str:
            beat()
            return bench.halted

        clock.stopped_by = stopped_by
        laboratory = Laboratory(
            study=study,
            run_id=files.run_id,
            folder=folder,
            seed=files.seed,
            simulated=files.simulated,
            clock=clock,
            bench=bench,
            technician=technician,
            record=record,
            journal=journal,
            raw=RawFileStore(folder / "raw"),
            tell=tell,
            watch_every_h=VIRTUAL_WATCH_H if files.simulated else REAL_WATCH_H,
            file_folders={k: Path(one.path) for k, one in settings.file_folders.items()},
            look_every_h=VIRTUAL_LOOK_H
            if files.simulated
            else min((f.look_every_s for f in settings.file_folders.values()), default=60.0)
            / 3600.0,
            reserve=reserve,
        )
        opened.append(laboratory)
        yield laboratory


def put_on_record(record: Record, files: RunFiles) -> None:
    """Add the run to the record, once. Raises WrongUse where its name is another run's, of another computer."""
    of_run = {"token": files.token} if files.token else {}
    settings = {"matched": files.matched, **of_run}
    known = record.run(files.run_id)
    if known is not None and known.settings.get("token", "") != files.token:
        raise WrongUse(
            f"{record.url} has another run {files.run_id}, begun {known.begun_utc} in another folder "
            "or on another computer. Nothing was sent to any instrument; start anew, under another name"
        )
    record.add_run(files.run_id, files.study, files.seed, files.simulated, settings)


def refuse_elsewhere(settings: LabSettings, path: Path) -> None:
    """Raise OtherComputer where the instruments' cables end at another computer: nothing of it is asked over a
    network, whatever started this process.
    """
    own = platform.node()
    if not settings.computer.is_here(own):
        raise OtherComputer(
            f"{path} is of the computer {settings.computer.name}, and this is {own or 'one without a name'}; "
            "nothing was sent to any instrument. Instruments are used from the computer with their cables: "
            "go on there, or change computer.name once the cables are here"
        )


def fits_the_study(settings: LabSettings, study: Study, path: Path) -> None:
    """Raise FileNotValid naming everything that the study needs and the bench has not, or has otherwise."""
    problems = []
    for line in study.lines:
        for role, syringe in study.syringes_of(line.id).items():
            name = pump_name(line.id, role)
            pump = settings.pumps.get(name)
            if pump is None:
                problems.append(f"pumps.{name} is missing")
            elif pump.content_ul() != syringe.volume_ul or (
                pump.diameter_mm() not in (None, syringe.diameter_mm)
            ):
                bore = f" of {pump.diameter_mm():g} mm" if pump.diameter_mm() else ""
                problems.append(
                    f"pumps.{name} holds {pump.content_ul() / 1000.0:g} mL{bore}, "
                    f"the study says {syringe.volume_ul / 1000.0:g} mL of {syringe.diameter_mm:g} mm"
                )
    for kind in kinds_of_files(study):
        folder = settings.file_folders.get(kind)
        if folder is None:
            problems.append(f"file_folders.{kind} is missing: where do these files arrive?")
        elif not Path(folder.path).is_dir():
            problems.append(f"file_folders.{kind}.path {folder.path} is no folder that can be read")
    read_here = [a for a, assay in study.assays.items() if not assay.comes_as_file]
    if read_here and len(settings.plate_readers) != 1:
        problems.append(
            f"one plate reader is needed for {', '.join(read_here)}, {len(settings.plate_readers)} named"
        )
    if len(settings.impedance_meters) != 1:
        problems.append(f"one impedance meter is needed, {len(settings.impedance_meters)} named")
    for name, meter in settings.impedance_meters.items():
        without = [chip for chip in study.chip_ids if chip not in meter.channels]
        if without:
            problems.append(f"impedance_meters.{name}.channels has no {', '.join(without)}")
    problems += valve_problems(settings, study)
    if problems:
        told = "".join(f"\n  {problem}" for problem in problems)
        raise FileNotValid(f"{path} does not fit {study.name}; nothing was sent:{told}")


def valve_problems(settings: LabSettings, study: Study) -> list[str]:
    """Return what the valves of a bench have not, or have otherwise than the study asks."""
    problems = []
    for chip in study.valves:
        valve, lines = settings.valves.get(chip), lines_that_may_feed(study, chip)
        if valve is None:
            problems.append(f"valves.{chip} is missing: which port of it does each line come to?")
            continue
        without = [line for line in lines if line not in valve.lines]
        if without:
            problems.append(f"valves.{chip}.lines has no port of {', '.join(without)}")
        ports = list(valve.lines.values())
        if len(set(ports)) < len(ports):
            problems.append(f"valves.{chip}.lines has two lines at one port")
        most = getattr(valve, "positions", max(ports, default=0))
        if ports and max(ports) > most:
            problems.append(
                f"valves.{chip}.lines names port {max(ports)}; the valve has {most} positions"
            )
    return problems


def kinds_of_files(study: Study) -> tuple[str, ...]:
    """Return the kinds of files that a study waits for, each once."""
    return tuple(dict.fromkeys(one.export for one in study.assays.values() if one.export))


def nothing_is_due(settings: LabSettings, path: Path, today: date) -> None:
    """Raise FileNotValid where tubing or calibration must be renewed before a new study begins."""
    due = [
        f"\n  pumps.{n}: {said}" for n, p in settings.pumps.items() if (said := p.overdue(today))
    ]
    if due:
        raise FileNotValid(f"{path} has pumps to renew first; nothing was sent:{''.join(due)}")


@contextmanager
def virtual_lab(files: RunFiles) -> Iterator[LabHandle]:
    """Start (or take up again) the virtual lab of a run; it ends with this process."""
    state = files.folder / VIRTUAL_FOLDER
    state.mkdir(exist_ok=True)
    if not (state / "lab.json").exists():
        facts = {"study": f"../{STUDY_FILE}", "seed": files.seed, "matched": files.matched}
        write_whole(state / "lab.json", json.dumps(facts))
    with start_lab_process(state) as lab:
        yield lab


def virtual_settings(study: Study, lab: LabHandle, arriving: Path) -> str:
    """Return the lab.toml of the virtual lab: a pty where the system has one, TCP elsewhere."""

    def url(port: str) -> str:
        return str(lab.ports[port]["pty"] or lab.ports[port]["tcp"])

    lines = [
        "# SIMULATED: the emulated instruments of this run; written by chiploop",
        "[buses.pumps]",
        f"url = {json.dumps(url('pumps'))}",
    ]
    pumps = [
        (f"{line.id}-{role}", syringe)
        for line in study.lines
        for role, syringe in study.syringes_of(line.id).items()
    ]
    for address, (name, syringe) in enumerate(pumps):
        lines += [
            "",
            f"[pumps.{name}]",
            'make = "new_era_ne1000"        # NE-1000X: steady down to a few uL/h with this syringe',
            'bus = "pumps"',
            f"address = {address}",
            f"syringe_diameter_mm = {syringe.diameter_mm}",
            f"syringe_volume_ml = {syringe.volume_ul / 1000.0}",
            "min_flow_rate_ul_h = 3.0",
        ]
    lines += [
        "",
        "[plate_readers.reader]",
        'make = "spectramax"',
        f"url = {json.dumps(url('reader'))}",
    ]
    lines += [
        "",
        "[impedance_meters.teer]",
        'make = "emstat_pico"',
        f"url = {json.dumps(url('teer'))}",
    ]
    for chip in study.valves:
        fed_by = lines_that_may_feed(study, chip)
        lines += [
            "",
            f"[valves.{chip}]",
            'make = "runze_sv06"',
            f"url = {json.dumps(url(f'valve-{chip}'))}",
            f"positions = {ports_of(len(fed_by))}",
            f"[valves.{chip}.lines]",
            *(f"{line} = {port}" for port, line in enumerate(fed_by, 1)),
        ]
    lines += ["", "[impedance_meters.teer.channels]"]
    lines += [f"{chip} = {channel}" for channel, chip in enumerate(study.chip_ids)]
    for kind in kinds_of_files(study):
        lines += ["", f"[file_folders.{kind}]", f"path = {json.dumps(str(arriving))}"]
    return "\n".join(lines) + "\n"
