"""Troubles on the wires that asking again has mended: on record with their count, once each."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.record.journal import Journal
from chiploop.record.record import Record
from chiploop.record.sessions import RecordAway
from flows.wire_news import WIRE, tell_wires
from instruments.wire_troubles import GARBLED, SILENT
from tests.flows.test_perfusion import START_H, Rig


def test_each_trouble_stands_on_record_with_its_count_also_where_two_are_alike(
    tmp_path: Path,
) -> None:
    with (
        Journal(tmp_path / "journal.sqlite") as journal,
        Record(f"sqlite:///{tmp_path / 'record.sqlite'}") as record,
    ):
        on = Rig(tmp_path, journal)
        on.lab.record = record
        record.add_run("r", on.study, 1, True, {})
        book = on.lab.bench.troubles
        tell_wires(on.lab, 1)
        for _ in range(2):
            book.count("pumps", SILENT, "nothing came")
            book.count("pumps", GARBLED, "'hxllo'")
            book.count("pumps", SILENT, "nothing came")
            tell_wires(on.lab, 1)
        on.world.advance_to(START_H)
        running = on.start("L1")
        book.count("reader", SILENT, "nothing came")
        from flows import perfusion

        perfusion.watch_pumps(on.lab, running, START_H + 1.0, 2)
        found = [
            (e.content["port"], e.content["kind"], e.content["times"], e.content["cycle"])
            for e in record.events("r", WIRE)
        ]
    assert found == [
        ("pumps", GARBLED, 1, 1),
        ("pumps", SILENT, 2, 1),
        ("pumps", GARBLED, 1, 1),
        ("pumps", SILENT, 2, 1),
        ("reader", SILENT, 1, 2),
    ]


def test_a_record_that_is_away_does_not_stop_the_look_at_the_pumps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        on = Rig(tmp_path, journal)
        said: list[str] = []
        monkeypatch.setattr(on.lab, "say", lambda cycle, text: said.append(text), raising=False)

        class Away:
            def events(self, *_: object) -> list[object]:
                raise RecordAway("the server is away")

        on.lab.record = Away()
        on.lab.bench.troubles.count("pumps", SILENT, "nothing came")
        tell_wires(on.lab, 1)
    assert said == [
        "wire of pumps: no answer once, last: nothing came",
        "that is not on record: the server is away",
    ]
