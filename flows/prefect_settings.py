"""The settings that keep Prefect on this computer, in one folder, and quiet.

Belongs here: environment variables, by their names in `prefect/settings/models` of Prefect 3.8.8.
Not here: processes (flows/prefect_server.py). Imports no Prefect: it reads these once, at import.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

HOST = "127.0.0.1"
DATABASE_NAME = "prefect.db"

_QUIET: Mapping[str, str] = {
    # Nothing about a study leaves the computer.
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    # What a person reads is chiploop's own output and run.log.
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    "PREFECT_CLI_PROMPT": "false",
    # A server that lives as long as one command schedules, expires, vacuums and forwards nothing.
    # The task run recorder stays: without it no task run is on record.
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
    "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",  # flows/prefect_server.py does, once
    "PREFECT_SERVER_EVENTS_STREAM_OUT_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_CLEANUP_RECONCILER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_REPOSSESSOR_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED": "true",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    # One client on one computer: no token round trip, no version round trip.
    "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "false",
    "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
    "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
    # Only the begin and the end of a flow wait for the server: 6 s a state where it is gone, 21 s where it hangs,
    # in place of a minute and more.
    "PREFECT_CLIENT_MAX_RETRIES": "2",
    "PREFECT_API_REQUEST_TIMEOUT": "5",
    # A proxy of the institute must not be asked for 127.0.0.1.
    "NO_PROXY": f"{HOST},localhost",
    "no_proxy": f"{HOST},localhost",
}


_WITH_PAGES: Mapping[str, str] = {"PREFECT_SERVER_UI_ENABLED": "true"}
"""Besides, for a server that people look at."""
_WITH_SCHEDULES: Mapping[str, str] = {
    **_WITH_PAGES,
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "true",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "true",
}
"""Besides, for a server that stands and begins flows at their times."""
PAGES_FOLDER = "ui"


def prefect_environment(
    home: Path, port: int, pages: bool = False, schedules: bool = False
) -> dict[str, str]:
    """Return every variable that Prefect needs to use a server on loopback with files in `home`.

    `pages`: its own pages are served too. `schedules`: it begins flows at their times, and has pages.
    """
    home = home.resolve()
    address = f"http://{HOST}:{port}"
    return {
        **_QUIET,
        **(_WITH_SCHEDULES if schedules else _WITH_PAGES if pages else {}),
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home / PAGES_FOLDER),
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(home / "storage"),
        "PREFECT_SERVER_MEMO_STORE_PATH": str(home / "memo_store.toml"),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": (
            f"sqlite+aiosqlite:///{(home / DATABASE_NAME).as_posix()}"
        ),
        "PREFECT_API_URL": f"{address}/api",
        "PREFECT_UI_URL": address,
        "PREFECT_SERVER_UI_API_URL": f"{address}/api",
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(port),
    }


def put_environment(wanted: Mapping[str, str]) -> dict[str, str | None]:
    """Set `wanted`, remove all other Prefect variables; return what was there, None for unset."""
    others = [name for name in os.environ if name.startswith("PREFECT")]
    before = {name: os.environ.get(name) for name in [*others, *wanted]}
    for name in others:
        del os.environ[name]
    os.environ.update(wanted)
    return before


def restore_environment(before: Mapping[str, str | None]) -> None:
    """Set this process' environment back to what `put_environment` returned."""
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
