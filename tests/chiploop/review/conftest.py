"""A page over a record written by hand, asked in this process; commands are noted, not carried out.

Belongs here: fixtures. Not here: the page over a real run with real commands (tests/flows/cli/test_review.py).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from chiploop.errors import WrongUse
from chiploop.measurement import Derivation, Measurement, Readout
from chiploop.record.record import Record
from chiploop.review.contracts import Answer, Desk, JobName, JobStanding, Status
from chiploop.review.pages import application
from chiploop.review.tickets import Role, Tickets
from chiploop.study import load_study
from chiploop.twin.teaching.cases import case_of
from chiploop.twin.teaching.content import content
from chiploop.twin.teaching.play import AnswerRefused, played
from tests.chiploop.review.asgi_client import AsgiClient

STUDY = Path(__file__).parents[2] / "flows" / "small_study.yaml"
HOST = "127.0.0.1:8765"
ORIGIN = {"origin": f"http://{HOST}"}
RUN = "r1"
SCRIPT = "<script>alert(1)</script>"
PROPOSAL = f"/runs/{RUN}/proposal"
APPROVE = f"{PROPOSAL}/approve"
FORM = {"proposal": "r1/c02/p1", "why": ""}
PLATE = "small-CCL26-cycle1"
EVERY_PAGE = ["/", f"/runs/{RUN}", f"/runs/{RUN}/fit", PROPOSAL, f"/runs/{RUN}/chips/C01",
              f"/runs/{RUN}/plates/{PLATE}", f"/runs/{RUN}/signals", f"/runs/{RUN}/models",
              f"/compare?one={RUN}&other={RUN}", "/teach"]  # fmt: skip


def lesson_after(words: Sequence[str]) -> Answer:
    """Return what ``chiploop twin teach --show --json`` says, calculated in this process."""
    seed, case = (int(word.partition("=")[2]) for word in words[:2])
    try:
        play = played(case_of(seed, case), [word.partition("=")[2] for word in words[2:]])
    except (AnswerRefused, WrongUse) as problem:
        message = f"--answer: {problem}"
        return Answer(2, {"ok": False, "error": {"exit_code": 2, "message": message}})
    return Answer(0, {"ok": True, **content(play)})


@dataclass
class NotedHands:
    """Notes what is asked of it."""

    asked: list[list[str]] = field(default_factory=list)
    jobs: list[tuple[str, ...]] = field(default_factory=list)
    answer: Answer = Answer(
        0,
        {
            "ok": True, "proposal": "r1/c02/p1", "by": "alice", "action": "approve",
            "still_needed": 0, "excluded": True, "readouts": 2, "doses": {}, "card": None,
            "wells": ["B7"], "missing": [],
        },
    )  # fmt: skip

    def carry_out(self, words: Sequence[str]) -> Answer:
        self.asked.append(list(words))
        return self.answer

    def teach(self, words: Sequence[str]) -> Answer:
        return lesson_after(words)

    def start(self, name: JobName, run_id: str, *detail: str) -> None:
        self.jobs.append((name, run_id, *detail))

    def standing(self, name: JobName, run_id: str, *detail: str) -> JobStanding:
        return JobStanding("running" if (name, run_id, *detail) in self.jobs else "none")


@dataclass
class Page:
    """The page with what stands behind it."""

    client: AsgiClient
    record: Record
    hands: NotedHands
    tickets: Tickets
    now: dict[str, float]
    """``time_h``: the study time."""
    journals: dict[str, Path]
    """Run -> its journal."""

    def enter(self, role: Role = "approver") -> AsgiClient:
        """Open a session of a role."""
        answer = self.client.get("/enter", params={"token": self.tickets.links[role]})
        assert answer.status_code == 200
        return self.client

    def fields(self, path: str) -> dict[str, str]:
        """Return the hidden fields of the first form of a page."""
        text = self.client.get(path).text
        return {
            name: re.search(rf'name="{name}" value="([^"]+)"', text)[1]  # type: ignore[index]
            for name in ("form", "once")
        }

    def post(
        self, path: str, form: dict[str, str], at: str = f"/runs/{RUN}/proposal"
    ) -> httpx.Response:
        """Send a form with the hidden fields of a page that was just loaded."""
        return self.client.post(path, data={**self.fields(at), **form}, headers=ORIGIN)


def read_plate() -> tuple[list[Readout], Derivation]:
    """Return a reading of C02 from two wells of a plate with a standard, and all that it rests on."""
    raw = [
        Measurement(
            f"{PLATE}/raw/450/{well}", "raw", "CCL26", "absorbance 450 nm", signal, "OD", 36.0,
            chip_id=chip, role=role, replicate=1, plate=PLATE, well=well, cycle=1,
        )
        for well, role, chip, signal in (
            ("A1", "standard", "", 2.5), ("B7", "sample", "C02", 0.5), ("C7", "sample", "C02", 0.9),
        )
    ]  # fmt: skip
    reading = Readout(
        "C02", "CCL26", 80.0, "pg/mL", 0.1, "log", 36.0, window_start_h=24.0, n=2, plate=PLATE,
        wells=("B7", "C7"), cycle=1, raw_sha256="0" * 64,
    )  # fmt: skip
    return [reading], Derivation(tuple(raw), PLATE)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record of a run with two chips whose second doses wait, for 12 h, named like a script."""
    folder = tmp_path_factory.mktemp("written")
    study = folder / "study.yaml"
    text = STUDY.read_text(encoding="utf-8").replace(
        "{by: auto}", "{by: person, expires: 12 h, two_above: 10 %}"
    )
    study.write_text(
        text.replace("title: The smallest study", f'title: "{SCRIPT} study"\n#'), encoding="utf-8"
    )
    with Record(str(folder / "record.sqlite")) as record:
        record.add_run(RUN, load_study(study), seed=1, simulated=True)
        readings = [
            Readout(chip, "TEER", 900.0 + time_h, "ohm*cm2", 0.02, "log", time_h)
            for chip in ("C01", "C02")
            for time_h in (24.0, 48.0)
        ]
        record.add_readouts(RUN, readings)
        record.add_readouts(RUN, *read_plate())
        doses = [
            {"line": line, "asked_nm": 60.0, "risk": 0.01, "chips": [chip]}
            for line, chip in (("L1", "C01"), ("L2", "C02"))
        ]
        record.add_proposal(RUN, 2, {"doses": doses, "cycle": 2})
    return folder


@pytest.fixture
def page(written: Path, tmp_path: Path) -> Iterator[Page]:
    """The page over a copy of that record."""
    for file in written.glob("record.sqlite*"):
        shutil.copy(file, tmp_path)
    hands, tickets, now = NotedHands(), Tickets(), {"time_h": 1.0}
    journals: dict[str, Path] = {}
    with Record(str(tmp_path / "record.sqlite"), create=False) as record:
        desk = Desk(
            runs=tmp_path,
            open_record=lambda: record,
            status_of=lambda run_id: Status("waiting for a person", 1, 2, 30.0, 62.0),
            journal_of=journals.get,
            hands=hands,
            login="alice",
            models=lambda run_id: {"skin_chip": "", "own_model": "", "strange": f"no {SCRIPT}"},
            time_h=lambda run_id: now["time_h"],
        )
        app = application(desk, tickets, {HOST}, 8765)
        yield Page(AsgiClient(app, f"http://{HOST}"), record, hands, tickets, now, journals)
