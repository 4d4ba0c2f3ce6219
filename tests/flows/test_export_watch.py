"""A watched folder: finished files are taken once, unfinished ones wait, the lab's files stay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chiploop.errors import WrongUse
from flows.export_store import LIST_FILE, ExportStore, opened_store
from flows.export_watch import Event, Watch, is_ignored, look

NAME = "gen5_absorbance_stdcurve_singleplate.txt"


@pytest.fixture
def whole(shared_data: Path) -> bytes:
    return (shared_data / "vendor_exports" / NAME).read_bytes()


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    folder = tmp_path / "lab"
    folder.mkdir()
    return folder


@pytest.fixture
def store(tmp_path: Path) -> ExportStore:
    return ExportStore(tmp_path / "store")


def looks(lab: Path, watch: Watch, store: ExportStore | None, n: int = 2) -> list[Event]:
    return [event for _ in range(n) for event in look(lab, watch, store)]


def test_a_finished_file_is_taken_at_the_second_look_and_only_once(
    lab: Path, store: ExportStore, whole: bytes
) -> None:
    (lab / "plate.txt").write_bytes(whole)
    watch = Watch()
    assert list(look(lab, watch, store)) == []
    (event,) = look(lab, watch, store)
    assert (event.what, event.name) == ("taken", "plate.txt")
    assert event.taken is not None and (event.taken.rows, event.taken.version) == (381, 1)
    assert looks(lab, watch, store, 5) == []
    assert store.raw.get(event.taken.sha256) == whole
    assert (lab / "plate.txt").read_bytes() == whole


def test_a_file_that_grows_is_left_alone_until_it_stands_still_with_its_end(
    lab: Path, store: ExportStore, whole: bytes
) -> None:
    watch, path = Watch(), lab / "plate.txt"
    events = []
    for size in (1000, 2000, 3000, 4000):
        path.write_bytes(whole[:size])
        events += list(look(lab, watch, store))
    assert events == [] and store.taken == []
    (waiting,) = looks(lab, watch, store, 5)  # told once, however often it is looked at
    assert waiting.what == "waiting" and "incomplete" in waiting.told
    path.write_bytes(whole)
    assert [event.what for event in looks(lab, watch, store)] == ["taken"]
    assert [one.state for one in store.taken] == ["read"]


@pytest.mark.parametrize(
    "name", ["~$plate.txt", "plate.txt.tmp", "plate.PART", ".plate.txt", "x.crdownload"]
)
def test_names_of_unfinished_files_are_passed_over(
    lab: Path, store: ExportStore, whole: bytes, name: str
) -> None:
    assert is_ignored(name)
    (lab / name).write_bytes(whole)
    (lab / "empty.txt").touch()
    (lab / "folder.txt").mkdir()
    assert looks(lab, Watch(), store, 4) == []


def test_an_export_that_is_made_again_is_a_new_version_beside_the_old_one(
    lab: Path, store: ExportStore, whole: bytes
) -> None:
    watch = Watch()
    (lab / "plate.txt").write_bytes(whole)
    looks(lab, watch, store)
    (lab / "plate.txt").write_bytes(whole.replace(b"9:00:04 PM", b"9:10:04 PM"))
    (event,) = looks(lab, watch, store)
    assert event.taken is not None and event.taken.version == 2
    assert [one.version for one in store.taken] == [1, 2]
    assert all(store.raw.path(one.sha256).exists() for one in store.taken)


def test_a_restart_takes_nothing_twice_and_a_touched_file_is_known_by_its_digest(
    lab: Path, store: ExportStore, whole: bytes
) -> None:
    (lab / "plate.txt").write_bytes(whole)
    looks(lab, Watch(), store)
    assert looks(lab, Watch(), ExportStore(store.folder), 3) == []
    os.utime(lab / "plate.txt", ns=(1, 1))
    again = ExportStore(store.folder)
    assert looks(lab, Watch(), again, 3) == []
    assert len(again.taken) == 1


def test_the_same_content_under_two_names_is_refused_the_second_time(
    lab: Path, store: ExportStore, whole: bytes
) -> None:
    (lab / "plate_1.txt").write_bytes(whole)
    (lab / "plate_2.txt").write_bytes(whole)
    first, second = looks(lab, Watch(), store)
    assert (first.what, second.what) == ("taken", "refused")
    assert "plate_2.txt and plate_1.txt have the same content" in second.told


def test_a_file_that_contradicts_itself_is_kept_and_not_used(
    lab: Path, store: ExportStore, whole: bytes
) -> None:
    (lab / "plate.txt").write_bytes(whole.replace(b"3.336\t3.394", b"3.394\t3.336"))
    (lab / "notes.txt").write_bytes(b"remember the blanks\n")
    events = {event.name: event for event in looks(lab, Watch(), store, 3)}
    assert events["notes.txt"].what == "passed over"
    assert events["plate.txt"].what == "refused" and "contradicts" in events["plate.txt"].told
    assert [(one.name, one.state) for one in store.taken] == [("plate.txt", "refused")]


def test_a_preview_keeps_nothing(lab: Path, tmp_path: Path, whole: bytes) -> None:
    (lab / "plate.txt").write_bytes(whole)
    (event,) = looks(lab, Watch(), None, 4)
    assert event.what == "taken" and event.export is not None and len(event.export.rows) == 381
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lab"]


def test_a_file_that_a_program_holds_locked_waits(
    lab: Path, store: ExportStore, whole: bytes
) -> None:
    fcntl = pytest.importorskip("fcntl")
    watch, path = Watch(), lab / "plate.txt"
    path.write_bytes(whole)
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        (event,) = looks(lab, watch, store, 3)
        assert event.what == "waiting" and "can not be read yet" in event.told
    assert [event.what for event in looks(lab, watch, store)] == ["taken"]


def test_a_list_whose_writer_died_goes_on_at_its_last_whole_line(
    lab: Path, store: ExportStore, whole: bytes
) -> None:
    (lab / "plate.txt").write_bytes(whole)
    looks(lab, Watch(), store)
    path = store.folder / LIST_FILE
    path.write_bytes(path.read_bytes() + b'{"name": "pla')
    again = ExportStore(store.folder)
    again.keep(whole.replace(b"PM", b"AM"), "plate.txt", 2)
    assert [one.version for one in ExportStore(store.folder).taken] == [1, 2]


def test_a_list_that_is_none_is_refused(store: ExportStore) -> None:
    store.folder.mkdir()
    (store.folder / LIST_FILE).write_text("hello\n")
    with pytest.raises(WrongUse, match="is not the list of a store"):
        ExportStore(store.folder)


def test_two_processes_do_not_take_into_one_store(tmp_path: Path) -> None:
    with (
        opened_store(tmp_path / "store"),
        pytest.raises(WrongUse, match="another process"),
        opened_store(tmp_path / "store"),
    ):
        pass
