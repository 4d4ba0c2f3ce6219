"""One owner per port: the lock, its name, and what its file says of the owner."""

import errno
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from instruments import port_lock
from instruments.errors import PortInUse, PortMissing
from instruments.port_identity import lock_name_now
from instruments.port_lock import (
    PortLock,
    held_port,
    held_ports,
    is_locked,
    port_key,
    process_started,
    same_process,
)

PROJECT = Path(__file__).resolve().parents[2]
URL = "socket://localhost:40999"


class FakeMsvcrt:
    """Locks one byte of a file, as the C library of Windows does."""

    LK_NBLCK, LK_UNLCK = 2, 0

    def __init__(self):
        self.locked = {}

    def locking(self, descriptor, mode, count):
        assert count == 1
        facts = os.fstat(descriptor)
        place = (facts.st_ino, os.lseek(descriptor, 0, os.SEEK_CUR))
        if mode == self.LK_UNLCK:
            del self.locked[place]
        elif place in self.locked:
            raise OSError(errno.EACCES, "Permission denied")
        else:
            self.locked[place] = descriptor


@pytest.fixture(params=["posix", "windows"])
def system(request, monkeypatch):
    """The lock of this system, and that of Windows on a fake of its C library."""
    if request.param == "posix" and os.name == "nt":
        pytest.skip("this is Windows")
    if request.param == "windows" and os.name != "nt":
        fake = FakeMsvcrt()
        monkeypatch.setitem(sys.modules, "msvcrt", fake)
        monkeypatch.setattr(port_lock, "lock_file", port_lock._lock_windows)
        monkeypatch.setattr(port_lock, "unlock_file", port_lock._unlock_windows)
        return fake
    return None


def test_second_owner_is_refused_until_the_first_gives_the_port_back(system, tmp_path):
    first = PortLock(URL, tmp_path)
    with pytest.raises(PortInUse, match=f"process {os.getpid()}.*nothing was sent"):
        PortLock("rfc2217://127.0.0.1:40999", tmp_path)
    assert is_locked(first.path)
    first.release()
    first.release()
    assert not is_locked(first.path)
    PortLock(URL, tmp_path).release()


def test_lock_file_says_who_holds_the_port_and_how_to_stop_what_is_on_it(system, tmp_path):
    devices = {"L1": {"make": "new_era_ne1000", "kind": "pump", "entry": {"address": 0}}}
    lock = PortLock(
        URL, tmp_path, {"run": "/runs/r1", "devices": devices, "settings": {"baudrate": 19200}}
    )
    (held,) = held_ports(tmp_path)
    assert (held.name, held.url, held.pid) == (lock.name, URL, os.getpid())
    assert same_process(*held.owner)
    assert held.about["devices"] == devices and held.about["run"] == "/runs/r1"
    with pytest.raises(PortInUse, match="run r1"):
        PortLock(URL, tmp_path)
    lock.release()
    assert held_ports(tmp_path) == []


def test_text_of_a_longer_owner_leaves_nothing_behind(tmp_path):
    PortLock(URL, tmp_path, {"devices": {"x" * 500: {}}}).release()
    lock = PortLock(URL, tmp_path)
    assert "x" not in json.loads(lock.path.read_text()).get("devices", {})
    assert held_port(lock.path).about.keys() == {"url", "pid", "process_started"}
    size = lock.path.stat().st_size
    lock.release()
    PortLock(URL, tmp_path).release()
    assert lock.path.stat().st_size == size


def take_when_free(directory):
    for _ in range(100):
        with suppress(PortInUse):
            return PortLock(URL, directory)
    raise AssertionError("never free")


def test_lock_of_a_killed_owner_is_free_at_once_zombie_or_not(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from instruments.port_lock import PortLock\n"
        "lock = PortLock(sys.argv[1], Path(sys.argv[2])); print('held', flush=True)\n"
        "sys.stdin.readline()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, URL, str(tmp_path)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(PortInUse, match=f"process {other.pid}"):
            PortLock(URL, tmp_path)
        (held,) = held_ports(tmp_path)
        other.kill()
        take_when_free(tmp_path).release()
        assert not same_process(*held.owner)
    finally:
        other.kill()
        other.wait()
        other.stdin.close()
        other.stdout.close()


def test_recycled_process_id_is_another_process(tmp_path):
    began = process_started(os.getpid())
    assert same_process(os.getpid(), began)
    assert not same_process(os.getpid(), began - 60)
    lock = PortLock(URL, tmp_path)
    lock._say({"url": URL, "pid": os.getpid(), "process_started": began - 60})
    assert held_ports(tmp_path) == []
    assert is_locked(lock.path)
    lock.release()


def test_process_of_which_the_system_tells_nothing_counts_as_running(monkeypatch):
    def denied(pid):
        raise psutil.AccessDenied(pid)

    monkeypatch.setattr(psutil, "Process", denied)
    assert same_process(1, 0.0)


def test_start_of_a_process_does_not_move_when_somebody_sets_the_clock(monkeypatch):
    before = process_started(os.getpid())
    boot_time = psutil.boot_time()
    if not psutil.LINUX:
        pytest.skip("only Linux counts from the boot")
    module = sys.modules[psutil.Process(os.getpid())._proc.__class__.__module__]
    monkeypatch.setattr(module, "boot_time", lambda: boot_time + 3600)
    assert same_process(os.getpid(), before)


@pytest.mark.parametrize("text", [b"", b"process 12 (COM3)\n", b"[1]", b'{"pid": "x"}', b"\xff{"])
def test_file_that_says_nothing_usable_names_nobody(text, tmp_path):
    (tmp_path / "a.lock").write_bytes(text)
    assert held_ports(tmp_path) == []


def test_every_spelling_of_a_port_is_one_key(tmp_path, monkeypatch):
    assert port_key("socket://localhost:4001") == port_key("rfc2217://127.0.0.1:4001")
    (tmp_path / "tty").write_text("")
    (tmp_path / "by-id").symlink_to(tmp_path / "tty")
    assert port_key(str(tmp_path / "by-id")) == port_key(str(tmp_path / "tty"))
    monkeypatch.setattr(port_lock, "sys", SimpleNamespace(platform="darwin"))
    assert port_key("/dev/tty.usb-1") == port_key("/dev/cu.usb-1")
    monkeypatch.setattr(port_lock, "os", SimpleNamespace(name="nt"))
    assert port_key("com3") == port_key("\\\\.\\COM3")


def test_folder_that_can_not_be_written_is_told_before_anything_is_sent(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PortMissing, match="nothing was sent"):
        PortLock(URL, tmp_path / "file")


def test_lock_that_can_not_say_who_holds_it_is_not_taken(tmp_path, monkeypatch):
    def full(self, about):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(PortLock, "_say", full)
        with pytest.raises(PortMissing, match="No space left.*nothing was sent"):
            PortLock(URL, tmp_path)
    PortLock(URL, tmp_path).release()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_lock_files_are_open_to_every_user_and_their_folder_is_sticky(tmp_path):
    lock = PortLock(URL, tmp_path / "locks")
    assert lock.path.stat().st_mode & 0o777 == 0o666
    assert (tmp_path / "locks").stat().st_mode & 0o7777 == 0o1777
    lock.release()


@pytest.mark.parametrize(
    "url",
    [
        "/dev/ttyUSB0",
        "COM4",
        "usb://0403:6001:A10",
        "usb://0403:bb68",
        "socket://127.0.0.1:4001",
        "rfc2217://lab.example:4001",
        "loop://",
    ],
)
def test_every_spelling_of_a_port_has_a_lock_also_where_it_is_not_plugged_in(url: str) -> None:
    assert len(lock_name_now(url)) == 24
