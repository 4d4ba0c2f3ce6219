"""The URL of a record: what may be written, and how it is shown.

Belongs here: reading a URL, hiding its password. Not here: which record a command means (flows), opening it
(sessions).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from chiploop.errors import ChiploopError, WrongUse

SERVER_DRIVER = "postgresql+psycopg"
SERVER_NAMES = ("postgresql", "postgres", SERVER_DRIVER)
ALLOWED = "postgresql://USER@HOST:PORT/DATABASE, or a file of SQLite"
SECRETS = ("password", "sslpassword")
"""Parameters of libpq that a URL may carry after its question mark and that nobody else may read."""


class DriverMissing(ChiploopError):
    """The record is on a server, and the package that talks to it is not installed."""

    exit_code = 2
    code = "CL-210"


def record_url(text: str) -> URL:
    """Return the URL of a record from what a person wrote: a URL, or the path of an SQLite file.

    Raises WrongUse, without the text, which may hold a password, for anything else; DriverMissing where the
    record is on a server and psycopg is not installed.
    """
    if "://" not in text:
        return make_url(f"sqlite:///{Path(text).as_posix()}")
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Not the cause: it can quote what stands where a port should be.
        raise WrongUse(
            f"the URL of the record can not be read; it is {ALLOWED}. Characters of a password other than "
            "letters and digits must be percent-encoded; better leave it to ~/.pgpass"
        ) from None
    if url.drivername == "sqlite":
        return url
    if url.drivername not in SERVER_NAMES:
        raise WrongUse(f"a record on {url.drivername} is not known; it is {ALLOWED}")
    if not url.database:
        raise WrongUse(f"{shown(url)} names no database; a record is {ALLOWED}")
    if find_spec("psycopg") is None:
        raise DriverMissing(
            f"the record {shown(url)} needs the package psycopg: pip install 'chiploop[postgresql]'"
        )
    return url.set(drivername=SERVER_DRIVER)


def shown(url: URL) -> str:
    """Return a URL as it may be shown and kept: without its password."""
    name = "postgresql" if url.drivername in SERVER_NAMES else url.drivername
    query: Mapping[str, tuple[str, ...] | str] = {
        key: value for key, value in url.query.items() if key not in SECRETS
    }
    # set() keeps a password that is given as None
    bare = URL.create(name, url.username, None, url.host, url.port, url.database, query)
    return bare.render_as_string(hide_password=True)


def file_of(url: URL) -> Path | None:
    """Return the file of an SQLite record; None for one on a server or in memory."""
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    return Path(str(url.database))
