"""A stop from outside: asked of the owner, done in its place where it hangs, and of nobody else."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from serial.urlhandler import protocol_socket

from instruments import stop_desk, stop_request
from instruments.bench import open_bench
from instruments.errors import InstrumentError
from instruments.port_lock import PortLock, held_ports, process_started
from instruments.pumps.new_era_wire import encode_command
from instruments.stop_desk import StopDesk, Stopped, StopRequest, stop_pumps, write_request
from instruments.stop_request import request_stop
from instruments.wire_recorder import read_wire
from tests.instruments.stopped_owner import NOBODY, lab
from tests.instruments.tcp_device import device
from tests.instruments.test_bench import ScriptedBus

PROJECT = Path(__file__).resolve().parents[2]
PUMPS = ("L1-medium", "L1-low")
can_hang = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no SIGSTOP on this system")


@pytest.fixture(autouse=True)
def quick_sockets(monkeypatch):
    """pyserial sleeps 0.3 s whenever it closes a socket."""
    quick = SimpleNamespace(time=time.time, sleep=lambda s: None)
    monkeypatch.setattr(protocol_socket, "time", quick)


@pytest.fixture
def locks(tmp_path):
    return tmp_path / "locks"


@contextmanager
def owner(url, folder, locks, **more):
    """A process that owns a bench and waits for a pump that does not answer."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.instruments.stopped_owner"],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        asked = {"url": url, "folder": str(folder), "locks": str(locks), **more}
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "pending\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def ending(process):
    """Let an owner leave its bench; return what it tells."""
    process.stdin.write("\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def verbs(bus, since=0):
    return [text[1:] for text in bus.received[since:]]


def notes(folder):
    return [e["text"] for e in read_wire(folder / "wire" / "pumps.jsonl") if "text" in e]


def wait_until(true):
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


# --- two processes


def test_owner_stops_its_pumps_though_it_waits_for_an_answer_and_starts_nothing_after(
    tmp_path, locks
):
    bus = ScriptedBus(silent={NOBODY})
    with device(bus) as url, owner(url, tmp_path, locks) as process:
        wait_until(lambda: f"{NOBODY}VER" in bus.received)
        heard = len(bus.received)
        (report,) = request_stop(directory=locks, why="smoke", deadline_s=5)
        assert report.good and set(report.confirmed) == set(PUMPS)
        assert report.by == f"process {process.pid}, which holds the port"
        assert (report.ports, Path(report.run)) == ((url,), tmp_path)
        assert report.took_s < 2.0
        became = ending(process)
    assert became["read"].startswith("Interrupted: ") and "stopped by" in became["halted"]
    assert became["prepare"].startswith("NotSent: ") and "smoke" in became["prepare"]
    after = verbs(bus, heard)
    assert after.index("STP") == 0 and after[-2:] == ["SAF0", "SAF0"]
    assert not {"RAT", "VOL", "RUN"} & {text[:3] for text in after}
    asked = [text for text in notes(tmp_path) if text.startswith("stop asked by process")]
    assert len(asked) == 1 and "smoke" in asked[0]
    assert not list((locks / "stops").iterdir())


@can_hang
def test_owner_that_hangs_is_ended_and_its_pumps_are_stopped_in_its_place(tmp_path, locks):
    bus = ScriptedBus(silent={NOBODY})
    with device(bus) as url, owner(url, tmp_path, locks) as process:
        wait_until(lambda: f"{NOBODY}VER" in bus.received)
        os.kill(process.pid, signal.SIGSTOP)
        heard = len(bus.received)
        (report,) = request_stop(run=tmp_path, directory=locks, why="smoke", deadline_s=0.4)
        assert process.wait(5) == -signal.SIGKILL
    assert report.good and set(report.confirmed) == set(PUMPS)
    assert f"process {process.pid} did not answer for 0.4 s and was ended" in report.note
    assert 0.4 <= report.took_s < 4.0
    assert set(verbs(bus, heard)) == {"STP"}
    assert any(
        "opened only to stop its pumps" in text and "smoke" in text for text in notes(tmp_path)
    )
    assert held_ports(locks) == []


@can_hang
def test_owner_that_can_not_be_asked_since_the_disk_is_full_is_ended(tmp_path, locks, monkeypatch):
    def full(folder, request):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stop_request, "write_request", full)
    bus = ScriptedBus(silent={NOBODY})
    with device(bus) as url, owner(url, tmp_path, locks) as process:
        (report,) = request_stop(directory=locks)
        assert process.wait(5) == -signal.SIGKILL
    assert set(report.confirmed) == set(PUMPS) and "No space left" in report.note


@can_hang
def test_hung_controller_of_a_virtual_lab_takes_its_emulators_along(tmp_path, locks):
    bus = ScriptedBus(silent={NOBODY})
    with device(bus) as url, owner(url, tmp_path, locks, simulated=True) as process:
        wait_until(lambda: f"{NOBODY}VER" in bus.received)
        os.kill(process.pid, signal.SIGSTOP)
        heard = len(bus.received)
        (report,) = request_stop(directory=locks, deadline_s=0.4)
        assert process.wait(5) == -signal.SIGKILL
    assert report.good and "the virtual lab ended with its owner" in report.note
    assert len(bus.received) == heard


@can_hang
@pytest.mark.parametrize("hangs", [True, False])
def test_two_who_ask_at_once_both_learn_that_the_pumps_stand_still(hangs, tmp_path, locks):
    script = (
        "import json, sys; from pathlib import Path\n"
        "from instruments.stop_request import request_stop\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "reports = request_stop(directory=Path(sys.argv[1]), deadline_s=0.5)\n"
        "print(json.dumps([[dict(r.may_still_run), sorted(r.confirmed)] for r in reports]))"
    )
    bus = ScriptedBus(silent={NOBODY})
    with device(bus) as url, owner(url, tmp_path, locks) as process:
        askers = [
            subprocess.Popen(
                [sys.executable, "-c", script, str(locks)],
                cwd=PROJECT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        for asker in askers:
            assert asker.stdout.readline() == "ready\n"
        if hangs:
            os.kill(process.pid, signal.SIGSTOP)
        for asker in askers:
            asker.stdin.write("\n")
            asker.stdin.flush()
        told = [json.loads(asker.communicate(timeout=20)[0]) for asker in askers]
        assert told == [[[{}, sorted(PUMPS)]]] * 2
        assert (process.poll() is None) != hangs


# --- what is not done


@contextmanager
def innocent():
    """A process that has nothing to do with any port."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def pretend(locks, url, pid, began):
    """Leave a lock file that names a process which does not hold it."""
    lock = PortLock(url, locks)
    lock.release()
    devices = {
        name: {"make": "new_era_ne1000", "kind": "pump", "entry": entry.model_dump(mode="json")}
        for name, entry in lab(url).pumps.items()
    }
    about = {
        "url": url,
        "pid": pid,
        "process_started": began,
        "devices": devices,
        "settings": {"baudrate": 19200},
    }
    lock.path.write_text(json.dumps(about))


def test_recycled_process_id_is_neither_asked_nor_ended(tmp_path, locks):
    bus = ScriptedBus()
    with device(bus) as url, innocent() as process:
        pretend(locks, url, process.pid, process_started(process.pid) - 60)
        assert request_stop(directory=locks) == []
        begun = time.monotonic()
        (report,) = request_stop(lab=lab(url), directory=locks, wire_dir=tmp_path / "wire")
        assert time.monotonic() - begun < 4.0
        assert process.poll() is None
    assert report.good and set(report.confirmed) == set(PUMPS)
    assert any("opened only to stop" in text for text in notes(tmp_path))


def test_process_that_does_not_hold_the_lock_is_not_ended_whatever_the_file_says(locks):
    bus = ScriptedBus()
    with device(bus) as url, innocent() as process:
        pretend(locks, url, process.pid, process_started(process.pid))
        (report,) = request_stop(directory=locks, deadline_s=0.1)
        assert process.poll() is None
        assert set(report.confirmed) == set(PUMPS)
        lock = PortLock(url, locks)  # now somebody holds it, but not whom the file names
        pretended = {**json.loads(lock.path.read_text())}
        pretended |= {"pid": process.pid, "process_started": process_started(process.pid)}
        lock._say(pretended | {"devices": {"L1": {"kind": "pump"}}})
        (report,) = request_stop(directory=locks, deadline_s=0.1)
        assert process.poll() is None
        lock.release()
    assert "nobody was ended" in report.may_still_run["L1"]


def test_owner_that_may_not_be_ended_is_named_with_what_may_still_run(locks, monkeypatch):
    bus = ScriptedBus()
    monkeypatch.setattr(stop_request, "is_locked", lambda path: True)
    monkeypatch.setattr(stop_request, "_has_open", lambda process, path: True)

    def denied(self):
        raise psutil.AccessDenied(self.pid)

    monkeypatch.setattr(psutil.Process, "kill", denied)
    with device(bus) as url, innocent() as process:
        pretend(locks, url, process.pid, process_started(process.pid))
        (report,) = request_stop(directory=locks, deadline_s=0.1)
    assert set(report.may_still_run) == set(PUMPS) and not report.good
    assert "may not be ended by this user" in report.may_still_run["L1-low"]


def test_owner_without_a_pump_is_not_ended_for_its_silence(locks):
    lock = PortLock("COM3", locks, {"devices": {"reader": {"kind": "plate_reader"}}})
    with innocent() as process:
        about = json.loads(lock.path.read_text())
        lock._say(about | {"pid": process.pid, "process_started": process_started(process.pid)})
        (report,) = request_stop(directory=locks, deadline_s=0.1)
        assert process.poll() is None
    lock.release()
    assert report.good and "has no pump" in report.note


def test_scan_of_a_port_is_neither_asked_nor_ended_but_waited_for(locks):
    with device(ScriptedBus()) as url:
        scan = PortLock(url, locks)
        assert request_stop(directory=locks, deadline_s=0.1) == []
        threading.Timer(0.3, scan.release).start()
        (report,) = request_stop(lab=lab(url), directory=locks, deadline_s=0.1)
    assert set(report.confirmed) == set(PUMPS)


# --- ports that nobody holds


def test_bench_that_nobody_holds_is_opened_and_stopped(tmp_path, locks):
    bus = ScriptedBus()
    with device(bus) as url:
        (report,) = request_stop(lab=lab(url), directory=locks)
        assert report.good and set(report.confirmed) == set(PUMPS)
        with open_bench(lab(url), tmp_path / "wire", lock_dir=locks):
            pass  # the port is free again
    assert verbs(bus)[:4] == ["STP"] * 4 or set(verbs(bus)[:2]) == {"STP"}
    (record,) = (locks / "stops").glob("*.jsonl")
    assert any(e["direction"] == "sent" for e in read_wire(record))


def test_port_that_is_not_there_is_told_with_every_pump_behind_it(locks):
    (report,) = request_stop(lab=lab("socket://127.0.0.1:1"), directory=locks)
    assert set(report.may_still_run) == set(PUMPS)
    assert all("can not be opened" in why for why in report.may_still_run.values())


class Unstoppable(ScriptedBus):
    """The first pump says that it goes on infusing, whatever it is told."""

    def __call__(self, piece):
        answers = super().__call__(piece)
        running = encode_command(None, "00I", True)
        return [running if b"00S" in answer else answer for answer in answers]


def test_pump_that_does_not_confirm_is_told_and_the_other_is_stopped(locks):
    with device(Unstoppable()) as url:
        (report,) = request_stop(lab=lab(url), directory=locks)
    assert report.confirmed == ("L1-low",)
    assert "MAY STILL RUN" in report.may_still_run["L1-medium"]


def test_computer_on_which_nothing_is_held_has_nothing_to_stop(locks):
    assert request_stop(directory=locks) == []
    assert request_stop(run=Path("/runs/none"), directory=locks) == []


def test_only_the_ports_of_the_run_or_bench_that_was_named_are_stopped(tmp_path, locks):
    buses = ScriptedBus(), ScriptedBus()
    with device(buses[0]) as first, device(buses[1]) as second:
        with (
            open_bench(lab(first), tmp_path / "1", run=tmp_path / "r1", lock_dir=locks) as one,
            open_bench(lab(second), tmp_path / "2", run=tmp_path / "r2", lock_dir=locks) as two,
        ):
            (report,) = request_stop(run=tmp_path / "r2", directory=locks)
            assert (report.ports, one.halted) == ((second,), "")
            assert two.halted
            (report,) = request_stop(lab=lab(first), directory=locks)
            assert report.ports == (first,) and one.halted
    assert "STP" in verbs(buses[0])


# --- the desk


@pytest.fixture
def desk(locks):
    """A desk on one port; yields (requests carried out, how to ask)."""
    done = []

    def act(request):
        done.append(request)
        return Stopped(("P1",), {"P2": "silent"})

    me = (os.getpid(), process_started(os.getpid()))
    at_work = StopDesk(lambda: {"port"}, act, locks)
    at_work.start()

    def ask(name, **changes):
        about = {"id": name, "owner": me, "ports": frozenset({"port"}), "asked_by": "a test"}
        return write_request(locks / "stops", StopRequest(**(about | changes)))

    yield SimpleNamespace(done=done, ask=ask, folder=locks / "stops")
    at_work.close()


def test_request_is_heard_answered_once_and_tidied_away_with_its_file(desk):
    request = desk.ask("r")
    wait_until((desk.folder / "r.answer.json").exists)
    assert (desk.folder / "r.heard.json").exists()
    answer = json.loads((desk.folder / "r.answer.json").read_text())
    assert answer == {"confirmed": ["P1"], "may_still_run": {"P2": "silent"}}
    time.sleep(0.1)
    assert len(desk.done) == 1 and desk.done[0].asked_by == "a test"
    request.unlink()
    wait_until(lambda: not list(desk.folder.iterdir()))


def test_requests_to_others_and_things_that_are_none_are_left_alone(desk):
    me = (os.getpid(), process_started(os.getpid()))
    desk.ask("other-process", owner=(me[0] + 1, me[1]))
    desk.ask("earlier-process-of-that-id", owner=(me[0], me[1] - 60))
    desk.ask("other-port", ports=frozenset({"another"}))
    for name, text in (("a", "{"), ("b", "[]"), ("c", '{"owner": 3}'), ("d", "x" * 2_000_000)):
        (desk.folder / f"{name}.request.json").write_text(text)
    (desk.folder / "e.request.json").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(desk.folder / "f.request.json")
    desk.ask("r")
    wait_until((desk.folder / "r.answer.json").exists)
    assert [request.id for request in desk.done] == ["r"]


def test_stop_that_fails_in_its_owner_is_answered_too(locks):
    def act(request):
        raise ZeroDivisionError("bug")

    lock = PortLock("COM4", locks, {"devices": {}})
    with stop_desk.stop_desk(lambda: {lock.name}, act, locks):
        (report,) = request_stop(directory=locks, run=None)
    lock.release()
    assert "ZeroDivisionError" in report.may_still_run["every pump"]


def test_owner_that_takes_its_time_is_not_hung_and_serves_together_what_comes_meanwhile(
    locks, monkeypatch
):
    monkeypatch.setattr(stop_desk, "FRESH_S", 0.02)
    acts, reports = [], []

    def act(request):
        acts.append(request)
        time.sleep(0.8)
        return Stopped(("P1",))

    lock = PortLock("COM3", locks, {"devices": {}})

    def ask():
        reports.extend(request_stop(directory=locks, deadline_s=0.3))

    with stop_desk.stop_desk(lambda: {lock.name}, act, locks):
        askers = [threading.Thread(target=ask) for _ in range(4)]
        for asker in askers:
            asker.start()
            time.sleep(0.05)
        for asker in askers:
            asker.join()
    lock.release()
    assert [report.confirmed for report in reports] == [("P1",)] * 4
    assert len(acts) == 2


def test_owner_that_has_left_its_bench_meanwhile_is_not_waited_for(tmp_path, locks):
    bus = ScriptedBus()
    with device(bus) as url:
        port = PortLock(url, locks, held_about(url))
        threading.Timer(0.2, port.release).start()
        begun = time.monotonic()
        (report,) = request_stop(directory=locks, deadline_s=30)
        assert time.monotonic() - begun < 5
    assert set(report.confirmed) == set(PUMPS) and "given its ports back" in report.note


def held_about(url):
    devices = {
        name: {"make": "new_era_ne1000", "kind": "pump", "entry": entry.model_dump(mode="json")}
        for name, entry in lab(url).pumps.items()
    }
    return {"devices": devices, "settings": {"baudrate": 19200}}


def test_files_that_a_killed_process_of_this_user_left_are_swept_but_no_record(locks):
    folder = stop_desk.stop_folder(locks)
    for name in ("old.request.json", "old.jsonl", "new.request.json"):
        (folder / name).write_text("")
        if name.startswith("old"):
            os.utime(folder / name, (1, 1))
    stop_desk.stop_folder(locks)
    assert {path.name for path in folder.iterdir()} == {"old.jsonl", "new.request.json"}


# --- stopping many pumps


class Pump:
    def __init__(self, name, told, fails=0, waits=None):
        self.name, self.told, self.fails, self.waits = name, told, fails, waits

    def stop(self):
        self.told.append(self.name)
        if self.waits:
            assert self.waits.wait(5)
        if self.fails:
            self.fails -= 1
            raise InstrumentError("silent")


def test_pumps_of_two_ports_are_stopped_at_the_same_time_and_each_that_fails_twice_is_told():
    told, second_port = [], threading.Event()
    ports = {name: SimpleNamespace(reopen=lambda: told.append("reopen")) for name in "ab"}
    waiting = Pump("first", told, waits=second_port)
    ending_it = Pump("other", told)
    ending_it.stop = second_port.set
    pumps = {
        "first": waiting,
        "once": Pump("once", told, fails=1),
        "never": Pump("never", told, fails=9),
        "other": ending_it,
    }
    on = dict.fromkeys(("first", "once", "never"), ports["a"]) | {"other": ports["b"]}
    stopped = stop_pumps(pumps, on)
    assert set(stopped.confirmed) == {"first", "once", "other"}
    assert stopped.may_still_run == {"never": "silent"}
    assert told == ["first", "once", "never", "reopen", "once", "reopen", "never"]


def test_pumps_that_may_give_a_drug_are_stopped_before_plain_ones_of_their_port():
    told = []

    def pump(name):
        return SimpleNamespace(stop=lambda: told.append(name))

    names = ("L1-medium", "L1-stimulus", "L1-low", "L2-medium", "L2-high", "rinse")
    port = SimpleNamespace(reopen=lambda: None)
    stop_pumps({name: pump(name) for name in names}, dict.fromkeys(names, port))
    assert told == ["L1-low", "L2-high", "rinse", "L1-medium", "L1-stimulus", "L2-medium"]


def test_silent_plain_pump_does_not_keep_a_drug_pump_waiting_not_even_when_told_again():
    told = []

    def silent(name):
        def stop():
            told.append(name)
            raise InstrumentError("silent")

        return SimpleNamespace(stop=stop)

    names = ("L1-medium", "L1-low")
    port = SimpleNamespace(reopen=lambda: told.append("reopen"))
    stopped = stop_pumps({name: silent(name) for name in names}, dict.fromkeys(names, port))
    assert set(stopped.may_still_run) == set(names)
    assert told == ["L1-low", "L1-medium", "reopen", "L1-low", "reopen", "L1-medium"]
