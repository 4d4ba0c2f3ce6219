"""The token of a link is in no list of processes: the browser gets a file that only this login reads."""

from __future__ import annotations

import html
import re
import stat
import sys
import threading
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from flows.browser_link import opened_in_browser
from flows.cli.review import desk_of, listen, serve

LINK = "http://127.0.0.1:8765/enter?run=r%201&token=abc-_\"'<DEF"


def browser(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list in which a browser's only argument is noted."""
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    return opened


def file_of(address: str) -> Path:
    """Return the file of an address."""
    assert address.startswith("file:///")
    return Path(unquote(urlsplit(address).path))


@pytest.mark.skipif(sys.platform == "win32", reason="there the rights of a folder are lists")
def test_the_browser_is_led_on_by_a_file_that_no_other_login_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = browser(monkeypatch)
    with opened_in_browser(LINK):
        (address,) = opened
        file = file_of(address)
        assert "abc" not in address and "token" not in address
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        text = file.read_text(encoding="utf-8")
        to = re.search(r'http-equiv="refresh" content="0;url=([^"]+)"', text)
        assert to is not None and html.unescape(to[1]) == LINK and "<DEF" not in text
    assert not file.parent.exists()


def test_the_file_is_gone_after_a_while_and_where_no_browser_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = browser(monkeypatch)
    with opened_in_browser(LINK, kept_s=0.0):
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer):
                thread.join(20.0)
        assert not file_of(opened[0]).parent.exists()

    def fails(address: str) -> None:
        opened.append(address)
        raise OSError("no browser")

    monkeypatch.setattr("webbrowser.open", fails)
    with pytest.raises(OSError, match="no browser"), opened_in_browser(LINK):
        pass
    assert not file_of(opened[1]).parent.exists()


def test_the_page_that_is_served_starts_the_browser_without_its_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows.review_hands import ProcessHands

    opened = browser(monkeypatch)
    led: list[str] = []

    def run(server: object, sockets: object) -> None:
        file = file_of(opened[0])
        led.append(file.read_text(encoding="utf-8") if file.exists() else "")

    monkeypatch.setattr("uvicorn.Server.run", run)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    listener = listen(0)
    with listener:
        serve(desk_of(tmp_path, ProcessHands(tmp_path)), listener, "", True, False)
        serve(desk_of(tmp_path, ProcessHands(tmp_path)), listener, "", False, False)
    token = capsys.readouterr().out.splitlines()[0].partition("token=")[2]
    assert len(token) > 20 and len(opened) == 1 and led[1] == ""
    assert token not in opened[0] and token in led[0]
    assert not file_of(opened[0]).exists()
