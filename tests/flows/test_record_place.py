"""One rule says which record a command means, and never two records for the runs of one folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.errors import WrongUse
from chiploop.record.record import Record
from flows.record_place import place_of, record_named, without_record_option

URL = "postgresql://an:s3cr3t@db/lab"
OTHER = "postgresql://an@db/other"


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHIPLOOP_RECORD", raising=False)


def test_the_option_goes_before_the_variable_the_folder_and_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_of(tmp_path)
    assert (place.file, place.is_default) == (tmp_path / "record.sqlite", True)
    (tmp_path / "record.url").write_text("postgresql://an@db/lab\n")
    assert (place_of(tmp_path).shown, place_of(tmp_path).file) == ("postgresql://an@db/lab", None)
    monkeypatch.setenv("CHIPLOOP_RECORD", URL)
    assert place_of(tmp_path).url == URL  # with the password, which the folder does not know
    monkeypatch.setenv("CHIPLOOP_RECORD", OTHER)
    with record_named(URL):
        assert place_of(tmp_path).url == URL
    with pytest.raises(WrongUse, match="CHIPLOOP_RECORD names postgresql://an@db/other"):
        place_of(tmp_path)


def test_the_folder_keeps_the_url_without_the_password_and_nothing_for_its_own_file(
    tmp_path: Path,
) -> None:
    place_of(tmp_path).keep()
    assert list(tmp_path.iterdir()) == []
    with record_named(URL):
        place = place_of(tmp_path)
        place.keep()
    assert (tmp_path / "record.url").read_text() == "postgresql://an@db/lab\n"
    assert "s3cr3t" not in repr(place)


def test_a_file_elsewhere_is_kept_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with record_named("shared/record.sqlite"):
        place_of(tmp_path / "runs").keep()
    monkeypatch.chdir(tmp_path / "runs")
    assert place_of(Path()).file == tmp_path / "shared" / "record.sqlite"


def test_runs_in_a_file_are_not_gone_on_with_in_another_record(tmp_path: Path) -> None:
    Record(str(tmp_path / "record.sqlite")).close()
    with (
        record_named(URL),
        pytest.raises(WrongUse, match="are on record in .*record.sqlite") as told,
    ):
        place_of(tmp_path)
    assert "s3cr3t" not in str(told.value) and "chiploop restore" in str(told.value)
    with record_named(f"sqlite:///{tmp_path / 'record.sqlite'}"):
        assert place_of(tmp_path).is_default


@pytest.mark.parametrize(
    ("words", "left", "url"),
    [
        ("run a --record u --json", "run a --json", "u"),
        ("--record=u approve r1", "approve r1", "u"),
        ("approve r1", "approve r1", ""),
    ],
)
def test_the_option_may_stand_anywhere(words: str, left: str, url: str) -> None:
    assert without_record_option(words.split()) == (left.split(), url)


@pytest.mark.parametrize("words", ["run --record", "run --record= a", "run --record --json"])
def test_the_option_without_its_url_is_refused(words: str) -> None:
    with pytest.raises(WrongUse, match="--record needs the URL"):
        without_record_option(words.split())
