"""What a person writes becomes a URL, and no password is ever shown."""

from __future__ import annotations

import pytest

from chiploop.errors import WrongUse
from chiploop.record import record_url as module
from chiploop.record.chain import RecordUnreadable
from chiploop.record.record import Record
from chiploop.record.record_url import DriverMissing, file_of, record_url, shown

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (f"postgresql://an:{SECRET}@db:5433/lab", "postgresql://an@db:5433/lab"),
        (f"postgres://an:{SECRET}@db/lab", "postgresql://an@db/lab"),
        (f"postgresql+psycopg://an:{SECRET}@db/lab", "postgresql://an@db/lab"),
        (f"postgresql://an@/lab?host=/run/pg&password={SECRET}", "postgresql://an@/lab?host=%2Frun%2Fpg"),
        (f"postgresql://db/lab?sslmode=require&sslpassword={SECRET}", "postgresql://db/lab?sslmode=require"),
        ("sqlite:////data/record.sqlite", "sqlite:////data/record.sqlite"),
        ("runs/record.sqlite", "sqlite:///runs/record.sqlite"),
    ],
)  # fmt: skip
def test_a_url_is_shown_without_its_password_and_read_again_so(written: str, told: str) -> None:
    assert shown(record_url(written)) == told
    assert shown(record_url(told)) == told
    assert (file_of(record_url(written)) is None) == written.startswith("postgres")


@pytest.mark.parametrize(
    "written",
    [
        f"mysql://an:{SECRET}@db/lab",
        f"postgresql://an:{SECRET}@db",
        f"postgresql://an:a@b:{SECRET}/lab",
        f"://{SECRET}",
    ],
)
def test_a_url_that_is_not_one_is_refused_without_quoting_a_password(written: str) -> None:
    with pytest.raises(WrongUse) as told:
        record_url(written)
    assert SECRET not in str(told.value) and "postgresql://USER@HOST" in str(told.value)
    assert told.value.__cause__ is None


def test_a_server_without_its_package_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(DriverMissing, match=r"pip install 'chiploop\[postgresql\]'"):
        record_url("postgresql://an@db/lab")
    assert record_url("record.sqlite").database == "record.sqlite"


def test_a_server_that_refuses_is_told_without_the_password() -> None:
    with pytest.raises(RecordUnreadable, match="postgresql://an@127.0.0.1:1/lab can not") as told:
        Record(f"postgresql://an:{SECRET}@127.0.0.1:1/lab")
    assert SECRET not in str(told.value)
