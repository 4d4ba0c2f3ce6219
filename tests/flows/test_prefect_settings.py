"""Prefect's settings: they name one folder and loopback, and Prefect knows each of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from prefect.settings import Settings

from flows.prefect_settings import HOST, prefect_environment, put_environment, restore_environment


def test_environment_keeps_prefect_on_loopback_in_its_folder_and_silent(tmp_path: Path) -> None:
    environment = prefect_environment(tmp_path / "a b", 4711)
    addresses = {k: v for k, v in environment.items() if "://" in v and "sqlite" not in v}
    assert all(v.startswith(f"http://{HOST}:4711") for v in addresses.values())
    assert environment["PREFECT_HOME"] == str((tmp_path / "a b").resolve())
    assert (
        str((tmp_path / "a b").resolve().as_posix())
        in environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"]
    )
    assert environment["DO_NOT_TRACK"] == "1"
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


def test_every_setting_is_one_that_prefect_knows(tmp_path: Path) -> None:
    known = set(Settings().to_environment_variables())
    named = {name for name in prefect_environment(tmp_path, 1) if name.startswith("PREFECT")}
    assert named - known == set()


def test_users_own_prefect_settings_are_out_of_sight_and_then_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "users own")
    before = dict(os.environ)
    note = put_environment(prefect_environment(tmp_path, 4711))
    assert "PREFECT_API_KEY" not in os.environ
    assert os.environ["PREFECT_API_URL"] == f"http://{HOST}:4711/api"
    restore_environment(note)
    assert dict(os.environ) == before
