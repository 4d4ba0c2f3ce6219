"""Edits of a proposal while the world goes on: lines that are held, holds that go on, readouts taken out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chiploop import next_exposure
from chiploop.errors import WrongUse
from chiploop.predictions_held import as_given
from chiploop.record.actions import JournalTotals
from chiploop.record.exclusions import Exclusion
from chiploop.record.record import Record
from chiploop.record.rows import RecordedContent
from flows import proposing
from flows.cli.edit import edited
from flows.proposing import Books, Offer, may_begin_h, offer
from tests.chiploop.campaigns import STUDY, exact, fitted, readings

PLANNED_H = STUDY.exposure_start_h(2)


@dataclass
class Diary:
    """What these steps ask of a journal."""

    holding: dict[str, str] = field(default_factory=dict)
    done: list[Any] = field(default_factory=list)

    def totals(self, _: str) -> JournalTotals:
        return JournalTotals(
            last_dose_end_h=dict.fromkeys(STUDY.line_ids, 72.0), highest_dose_nm=480.0
        )

    def held(self, _: str) -> dict[str, str]:
        return self.holding

    def actions(self, _: str) -> list[Any]:
        return self.done


def began(phase: str, at_h: float, hours: float, cycle: int = 1, sent: bool = True) -> Any:
    """Return an action of the journal as far as it is looked at."""
    return SimpleNamespace(
        intent=SimpleNamespace(
            programme_key=f"run-1/c{cycle:02d}/L1/{phase}",
            programme=SimpleNamespace(duration_h=hours),
        ),
        begun_h=at_h,
        sent_h=(at_h,) if sent else (),
    )


@pytest.fixture
def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Books]:
    monkeypatch.setattr(next_exposure, "DRAWS", 48)
    monkeypatch.setattr(proposing, "campaign_on_record", lambda *_: fitted())
    with Record(str(tmp_path / "record.sqlite")) as record:
        record.add_run("run-1", STUDY, 1, True)
        record.add_readouts("run-1", readings())
        record.add_calibration("run-1", 1, {})
        yield Books(STUDY, "run-1", 1, record, Diary(), exact)  # type: ignore[arg-type]


def proposed(books: Books, notes: tuple[str, ...] = ()) -> RecordedContent:
    """Put a proposal for cycle 2 on record; return it."""
    made = offer(books, fitted(), PLANNED_H).proposal
    books.record.add_proposal("run-1", 2, asdict(replace(made, notes=notes)))
    latest = books.record.latest_proposal("run-1")
    assert latest is not None
    return latest


def edit(books: Books, standing: RecordedContent, **doses_nm: float) -> Offer:
    files: Any = SimpleNamespace(study=STUDY)
    return edited(files, books, standing, doses_nm, "nora", "why")


def diary(books: Books) -> Diary:
    assert isinstance(books.journal, Diary)
    return books.journal


def test_a_line_held_since_gets_nothing_and_the_others_can_be_edited(books: Books) -> None:
    standing = proposed(books)
    diary(books).holding["L2"] = "a stall"
    found = edit(books, standing, L1=95.0)
    assert [dose.line for dose in found.proposal.doses] == ["L1", "L3", "L4"]
    assert any("L2 none, it is held" in note for note in found.proposal.notes)
    with pytest.raises(WrongUse, match="line L2 is held: a stall"):
        edit(books, standing, L2=95.0)


def test_a_line_settled_since_gets_a_dose_only_where_it_is_named(books: Books) -> None:
    diary(books).holding["L4"] = "a stall"
    standing = proposed(books)
    assert "L4" not in {dose["line"] for dose in standing.content["doses"]}
    diary(books).holding.clear()
    assert [d.line for d in edit(books, standing, L1=95.0).proposal.doses] == ["L1", "L2", "L3"]
    found = edit(books, standing, L4=95.0)
    assert [dose.asked_nm for dose in found.proposal.doses if dose.line == "L4"] == [95.0]
    assert any("L4 none -> 95 nM" in note for note in found.proposal.notes)


def test_why_a_person_was_asked_stays_with_the_edit(books: Books) -> None:
    found = edit(books, proposed(books, ("TEER lags behind",)), L1=95.0)
    assert "TEER lags behind" in found.proposal.notes
    assert found.card is not None and found.card.notes == found.proposal.notes


def test_readouts_taken_out_after_the_fit_are_told(books: Books) -> None:
    standing = proposed(books)
    assert not any("after the last fit" in note for note in edit(books, standing).proposal.notes)
    books.record.add_exclusion("run-1", Exclusion("C01", "TEER", -1.0, True, "nora", "x"), 72.0)
    assert any("after the last fit" in note for note in edit(books, standing).proposal.notes)


def test_an_edit_begins_when_the_hold_that_runs_now_ends(books: Books) -> None:
    standing = proposed(books)
    assert may_begin_h(books, standing) == PLANNED_H
    diary(books).done = [began("hold", 72.0, 4.0), began("hold-2", 76.0, 4.0, sent=False)]
    assert may_begin_h(books, standing) == PLANNED_H
    diary(books).done[1:] = [began("hold-2", 76.0, 4.0), began("hold-2-plain", 78.0, 4.0)]
    assert may_begin_h(books, standing) == 82.0
    assert edit(books, standing).proposal.begin_h == 82.0
    diary(books).done.append(began("hold-9", 500.0, 4.0, cycle=2))
    assert may_begin_h(books, standing) == 82.0, "a hold after another cycle"


def test_predictions_are_compared_at_the_times_when_they_came_true(books: Books) -> None:
    card = offer(books, fitted(), PLANNED_H).card
    assert card is not None
    late = as_given(card.predicted, PLANNED_H, PLANNED_H + 8.0)
    for one, moved in zip(card.predicted, late, strict=True):
        assert moved.time_h == one.time_h + 8.0
        assert (moved.window_start_h is None) == (one.window_start_h is None)
        if one.window_start_h is not None:
            assert moved.window_start_h == one.window_start_h + 8.0
    assert as_given(card.predicted, PLANNED_H, None) == card.predicted
