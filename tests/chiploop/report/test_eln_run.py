"""A notebook gets the whole run in one archive: complete, digests true, no secret, the same bytes."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from chiploop.record.actions import Event
from chiploop.record.chain import RecordBroken
from chiploop.record.eln_archive import write_eln
from chiploop.record.journal import Journal
from chiploop.record.raw_files import RawFileStore
from chiploop.record.record import Record
from chiploop.record.rows import RawFile
from chiploop.report import eln_run
from chiploop.report.eln_run import RunPlaces, entry_of, parts_of, readable_names
from chiploop.report.html_report import RunEvidence
from tests.chiploop.report.conftest import HandRun

LAB = """
[buses.pumps]
url = "rfc2217://operator:hunter2@10.0.0.9:4000"
[meter.one]
api_token = "hunter2"
[notify.mail]
host = "mail.example"
to = ["someone@example.org"]
password_env = "hunter2"
"""


@pytest.fixture
def places(
    hand_run: HandRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[RunPlaces, list[RawFile]]:
    run, folder = hand_run, tmp_path / hand_run.run_id
    shutil.copytree(run.folder, folder)
    store, files = RawFileStore(folder / "raw"), []
    for number, name in enumerate(("plate 1.txt", "Plate 1.txt", "../../etc/passwd", "=cmd.csv")):
        content = f"raw {number}".encode()
        digest = store.put(content)
        files.append(RawFile(run.run_id, digest, name, "plate", len(content), 24.0 + number))
    monkeypatch.setattr(Record, "raw_files", lambda self, run_id: tuple(files))
    monkeypatch.setattr(eln_run, "report_text", lambda evidence: "<p>report</p>")
    (folder / "lab.toml").write_text(LAB, encoding="utf-8")
    evidence = RunEvidence(run.record, run.journal, run.study, run.run_id, folder)
    return RunPlaces(run.record, run.journal, evidence), files


def pack(places: RunPlaces, path: Path) -> zipfile.ZipFile:
    write_eln(path, entry_of(places), parts_of(places))
    return zipfile.ZipFile(path)


def nodes_of(archive: zipfile.ZipFile) -> dict[str, dict[str, Any]]:
    graph = json.loads(archive.read("campaign/ro-crate-metadata.json"))["@graph"]
    return {node["@id"]: node for node in graph}


def test_every_file_is_listed_with_its_own_digest_and_size_and_nothing_else_is_in(
    places: Any, tmp_path: Path
) -> None:
    with pack(places[0], tmp_path / "campaign.eln") as archive:
        nodes = nodes_of(archive)
        listed = {part["@id"] for part in nodes["./run/"]["hasPart"]}
        names = {f"./{name.removeprefix('campaign/')}" for name in archive.namelist()}
        assert {one.replace("%20", " ") for one in listed} == names - {"./ro-crate-metadata.json"}
        for one in listed:
            content = archive.read("campaign/" + one.removeprefix("./").replace("%20", " "))
            assert nodes[one]["sha256"] == hashlib.sha256(content).hexdigest()
            assert nodes[one]["contentSize"] == str(len(content))
        for needed in (
            "report.html", "readouts.csv", "study.json", "cal-01/posterior.nc", "journal.csv",
            "record/decisions.jsonl", "record/events.jsonl", "prism/README.txt", "lab.toml",
        ):  # fmt: skip
            assert f"./run/{needed}" in listed


def test_no_name_leads_out_of_the_archive_and_no_two_are_alike(places: Any, tmp_path: Path) -> None:
    one, files = places
    names = readable_names(files)
    assert names[0] == "plate 1.txt"
    assert len({name.casefold() for name in names}) == len(files)
    with pack(one, tmp_path / "campaign.eln") as archive:
        for name in archive.namelist():
            assert name.startswith("campaign/")
            assert ".." not in name.split("/")


def test_no_secret_and_no_address_of_a_person_leaves(places: Any, tmp_path: Path) -> None:
    with pack(places[0], tmp_path / "campaign.eln") as archive:
        lab = archive.read("campaign/run/lab.toml").decode()
        everything = b"".join(archive.read(name) for name in archive.namelist())
    assert 'url = "rfc2217://10.0.0.9:4000"' in lab
    for secret in (b"hunter2", b"someone@example.org"):
        assert secret not in everything


def test_the_same_record_gives_the_same_bytes(places: Any, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        pack(places[0], tmp_path / folder / "campaign.eln").close()
    first, second = ((tmp_path / f / "campaign.eln").read_bytes() for f in ("a", "b"))
    assert first == second


def test_simulated_stands_in_name_text_and_keywords_and_people_are_those_on_record(
    places: Any, tmp_path: Path
) -> None:
    with pack(places[0], tmp_path / "campaign.eln") as archive:
        nodes = nodes_of(archive)
        run = nodes["./run/"]
    assert run["name"].startswith("SIMULATED")
    assert "SIMULATED" in run["text"] and "<script" not in run["text"]
    assert run["keywords"][0] == "SIMULATED"
    assert [nodes[one["@id"]]["name"] for one in run["author"]] == ["A. Scientist"]
    facts = {
        nodes[one["@id"]]["propertyID"]: nodes[one["@id"]]["value"]
        for one in run["variableMeasured"]
    }
    assert facts["audit chain head of the record"] == places[0].record.verify().head


@pytest.mark.parametrize("harm", ["altered", "gone"])
def test_a_raw_file_that_is_not_what_the_record_says_leaves_no_archive(
    harm: str, places: Any, tmp_path: Path
) -> None:
    one, files = places
    path = RawFileStore(one.folder / "raw").path(files[1].sha256)
    path.chmod(0o644)
    if harm == "altered":
        path.write_bytes(b"other")
    else:
        path.unlink()
    (tmp_path / "out").mkdir()
    with pytest.raises(RecordBroken):
        pack(one, tmp_path / "out" / "campaign.eln")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_spreadsheet_takes_nothing_of_the_journal_for_a_formula(
    places: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = places[0]
    events = [*one.journal.events(), Event(999, "t", one.run_id, "=cmd|' /C calc'!A0", "note", {})]
    monkeypatch.setattr(Journal, "events", lambda self, key=None: events)
    with pack(one, tmp_path / "campaign.eln") as archive:
        text = archive.read("campaign/run/journal.csv").decode()
    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) > 10
    assert rows[-1][2] == "'=cmd|' /C calc'!A0"
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "@"))]


def test_the_rocrate_library_reads_it(places: Any, tmp_path: Path) -> None:
    from rocrate.rocrate import ROCrate

    with pack(places[0], tmp_path / "campaign.eln") as archive:
        archive.extractall(tmp_path / "unpacked")
    crate = ROCrate(str(tmp_path / "unpacked" / "campaign"))
    run = crate.dereference("./run/")
    files = {part.id for part in run["hasPart"]}
    assert {"run/report.html", "run/raw/plate%201.txt", "run/journal.csv"} <= files
    assert all((tmp_path / "unpacked/campaign" / unquote(one)).is_file() for one in files)
    assert files == {one.id for one in crate.data_entities} - {"run/", "./run/"}
    assert run["author"][0]["name"] == "A. Scientist"
