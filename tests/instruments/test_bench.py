"""The bench over TCP: opening, failing, holding, stopping, feeding the watchdogs."""

import json
import os
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest

from chiploop.errors import WaitingForPerson
from instruments.bench import Bench, bench_ports, open_bench
from instruments.drivers import DRIVERS
from instruments.errors import InstrumentError, PortInUse, PortMissing
from instruments.impedance_meters.emstat_pico import EmStatPicoEntry
from instruments.impedance_meters.manual_entry import ManualTeerEntry
from instruments.lab_settings import BusSettings, LabSettings, PlateReaderEntry
from instruments.port_lock import held_ports
from instruments.pumps.new_era_ne1000 import NewEraEntry
from instruments.pumps.new_era_wire import encode_command
from instruments.stop_request import request_stop
from instruments.transport import NotSent, PortSettings
from instruments.wire_recorder import read_wire
from tests.instruments.tcp_device import device

READY = b"OK\r\n>\r\nCLOSED\r\nIDLE\r\n\r\n>"
ADDRESSES = {"L1-medium": 0, "L1-low": 1}


class ScriptedBus:
    """Two pumps that answer from a table: the same command always gets the same data."""

    def __init__(self, silent=(), watchdog_s=120):
        self.received = []
        self.watchdog_s = watchdog_s
        self.silent = set(silent)

    def __call__(self, piece):
        answers = []
        while piece:
            packet, piece = piece[: piece[1] + 1], piece[piece[1] + 1 :]
            text = packet[2:-3].decode()
            self.received.append(text)
            address, command = int(text[0]), text[1:]
            if address in self.silent:
                continue
            data = {
                "SAF": str(self.watchdog_s),
                "VER": "NE1000V3.61",
                "DIA": "26.72",
                "DIS": "I0.000W0.000ML",
            }.get(command, "")
            answers.append(encode_command(None, f"{address:02d}S{data}", command != "SAF0"))
            if command == "SAF0":
                answers[-1] = f"\x02{address:02d}S\x03".encode()
        return answers

    def commands(self, address):
        return [text[1:] for text in self.received if text[0] == str(address)]


def settings(url, reader_url=None, meter_url=None, watchdog_s=120):
    return LabSettings(
        buses={"pumps": BusSettings(url=url)},
        pumps={
            name: NewEraEntry(
                make="new_era_ne1000",
                bus="pumps",
                address=address,
                syringe_diameter_mm=26.72,
                syringe_volume_ml=60,
                min_flow_rate_ul_h=3.0,
                watchdog_s=watchdog_s,
            )
            for name, address in ADDRESSES.items()
        },
        plate_readers={"reader": PlateReaderEntry(make="spectramax", url=reader_url)}
        if reader_url
        else {},
        impedance_meters={
            "teer": EmStatPicoEntry(make="emstat_pico", url=meter_url, channels={"C01": 0})
        }
        if meter_url
        else {},
    )


@contextmanager
def bench_on(bus, tmp_path, **options):
    with device(bus) as url, open_bench(settings(url, **options), tmp_path / "wire") as bench:
        yield bench


def test_bench_opens_every_kind_by_name_and_records_each_wire(tmp_path):
    reader = {b"!\r": [b"OK\r\n>"], b"!STATUS\r": [b"OK\r\n>\r\nCLOSED\r\nIDLE\r\n\r\n>"]}
    meter = {b"t\n": [b"tespico1201#x\nR*\n"]}
    with ExitStack() as stack:
        bus_url = stack.enter_context(device(ScriptedBus()))
        reader_url = stack.enter_context(device(reader.get))
        meter_url = stack.enter_context(device(meter.get))
        lab = settings(bus_url, reader_url, meter_url)
        bench = stack.enter_context(open_bench(lab, tmp_path / "wire"))
        assert list(bench.pumps) == list(ADDRESSES)
        assert (list(bench.readers), list(bench.meters)) == (["reader"], ["teer"])
        assert bench.pumps["L1-low"].status().state == "idle"
    assert {path.name for path in (tmp_path / "wire").iterdir()} == {
        "pumps.jsonl",
        "reader.jsonl",
        "teer.jsonl",
    }
    first = json.loads((tmp_path / "wire" / "pumps.jsonl").read_text().splitlines()[0])
    assert first["direction"] == "note"


def test_opening_stops_no_pump_and_clears_no_counter(tmp_path):
    bus = ScriptedBus()
    with bench_on(bus, tmp_path):
        assert not {"STP", "RUN", "CLD INF"} & {text[1:] for text in bus.received}


def test_every_device_that_failed_is_told_in_one_error_and_nothing_stays_open(tmp_path):
    bus = ScriptedBus(silent={0, 1})
    with device(bus) as url:
        lab = settings(url, meter_url="socket://127.0.0.1:1")
        with pytest.raises(InstrumentError) as told:
            with open_bench(lab, tmp_path / "wire"):
                raise AssertionError("opened")
        for name in ("L1-medium", "L1-low", "teer"):
            assert name in str(told.value)
        bus.silent.clear()
        with open_bench(settings(url), tmp_path / "wire"):
            pass


def test_missing_bus_names_its_pumps_and_keeps_its_kind(tmp_path):
    with pytest.raises(PortMissing, match="L1-medium, L1-low"):
        with open_bench(settings("socket://127.0.0.1:1"), tmp_path / "wire"):
            raise AssertionError("opened")


def test_bench_whose_port_is_in_use_says_so(tmp_path):
    with device(ScriptedBus()) as url, open_bench(settings(url), tmp_path / "1"):
        with pytest.raises(PortInUse, match=url):
            with open_bench(settings(url), tmp_path / "2"):
                raise AssertionError("opened")


@pytest.mark.parametrize(
    "leave_by",
    [None, WaitingForPerson("approve, please"), InstrumentError("the meter is silent")],
)
def test_bench_left_normally_or_on_hold_stops_nothing_and_frees_the_watchdogs(tmp_path, leave_by):
    bus = ScriptedBus()
    try:
        with bench_on(bus, tmp_path):
            if leave_by:
                raise leave_by
    except (WaitingForPerson, InstrumentError):
        pass
    for address in ADDRESSES.values():
        assert "STP" not in bus.commands(address)
        assert bus.commands(address)[-1] == "SAF0"


@pytest.mark.parametrize("reason", [RuntimeError("bug"), KeyboardInterrupt()])
def test_bench_left_by_an_exception_stops_every_pump(tmp_path, reason):
    bus = ScriptedBus()
    with pytest.raises(type(reason)), bench_on(bus, tmp_path):
        raise reason
    for address in ADDRESSES.values():
        assert "STP" in bus.commands(address)


class Unstoppable:
    name = "L1-medium"
    asked = 0

    def stop(self):
        self.asked += 1
        raise InstrumentError(f"{self.name} MAY STILL RUN")


class Stoppable(Unstoppable):
    name = "L1-low"

    def stop(self):
        self.asked += 1


def test_stop_reaches_every_pump_though_the_first_does_not_answer():
    stuck, good = Unstoppable(), Stoppable()
    bench = Bench(pumps={"L1-medium": stuck, "L1-low": good}, readers={}, meters={})
    with pytest.raises(InstrumentError, match="L1-medium MAY STILL RUN"):
        bench.stop_all()
    assert (stuck.asked, good.asked) == (2, 1)


def test_watchdogs_are_fed_while_the_bench_is_open_and_no_longer(tmp_path):
    bus = ScriptedBus(watchdog_s=1)
    with bench_on(bus, tmp_path, watchdog_s=1) as bench:
        deadline = time.monotonic() + 5
        while bus.commands(1).count("") < 2 and time.monotonic() < deadline:
            bench.pumps["L1-medium"].status()
            time.sleep(0.02)
        assert bus.commands(0).count("") >= 2
    assert not [t for t in threading.enumerate() if t.name.startswith("heartbeat")]


def test_ports_of_a_bench_name_what_stands_behind_each_ready_for_json():
    lab = settings("COM3", reader_url="COM4", meter_url="socket://10.0.0.4:4001")
    ports = {port.name: port for port in bench_ports(lab)}
    assert list(ports) == ["pumps", "reader", "teer"]
    assert ports["pumps"].settings == PortSettings(19200)
    assert ports["pumps"].url == "COM3" and list(ports["pumps"].devices) == list(ADDRESSES)
    low = json.loads(json.dumps(ports["pumps"].devices["L1-low"]))
    assert (low["make"], low["kind"]) == ("new_era_ne1000", "pump")
    assert NewEraEntry.model_validate_json(json.dumps(low["entry"])) == lab.pumps["L1-low"]
    assert ports["teer"].devices["teer"]["kind"] == "impedance_meter"


def test_stop_from_outside_stops_every_pump_and_lets_nothing_but_good_byes_through(tmp_path):
    bus, reader = ScriptedBus(), {b"!\r": [b"OK\r\n>"], b"!STATUS\r": [READY]}
    with device(bus) as url, device(reader.get) as reader_url:
        lab = settings(url, reader_url)
        with open_bench(lab, tmp_path / "wire", run=tmp_path, lock_dir=tmp_path / "locks") as bench:
            assert bench.halted == ""
            before = len(bus.received)
            (report,) = request_stop(run=tmp_path, directory=tmp_path / "locks", why="smoke")
            assert report.good and set(report.confirmed) == set(ADDRESSES)
            assert len(report.ports) == 2
            assert "smoke" in bench.halted and f"process {os.getpid()}" in bench.halted
            for refused in (
                lambda: bench.pumps["L1-low"].prepare(100.0, 10.0),
                lambda: bench.pumps["L1-low"].status(),
                lambda: bench.readers["reader"].read_absorbance("p", (450,), 0.0),
            ):
                with pytest.raises(NotSent, match="smoke"):
                    refused()
            bench.stop_all()  # a stop is never refused
        sent = [text[1:] for text in bus.received[before:]]
        with pytest.raises(NotSent, match="smoke.*new command"):  # no retry starts it again
            with open_bench(lab, tmp_path / "wire", run=tmp_path, lock_dir=tmp_path / "locks"):
                raise AssertionError("opened")
    assert set(sent) == {"STP", "SAF0"} and sent[-2:] == ["SAF0", "SAF0"]
    notes = [e["text"] for e in read_wire(tmp_path / "wire" / "reader.jsonl") if "text" in e]
    assert any("stop asked by" in text for text in notes)


def test_stop_from_outside_ends_the_heartbeats(tmp_path):
    bus = ScriptedBus(watchdog_s=1)
    with device(bus) as url:
        lab = settings(url, watchdog_s=1)
        with open_bench(lab, tmp_path / "wire", lock_dir=tmp_path / "locks"):
            request_stop(directory=tmp_path / "locks")
            deadline = time.monotonic() + 5
            while any(t.name.startswith("heartbeat") for t in threading.enumerate()):
                assert time.monotonic() < deadline
                time.sleep(0.02)


def test_lock_file_names_run_and_devices_and_is_blank_once_the_bench_is_left(tmp_path):
    with device(ScriptedBus()) as url:
        options = {"run": tmp_path, "simulated": True, "lock_dir": tmp_path / "locks"}
        with open_bench(settings(url), tmp_path / "wire", **options):
            (held,) = held_ports(tmp_path / "locks")
        assert held.about["run"] == str(tmp_path) and held.about["simulated"] is True
        assert set(held.about["devices"]) == set(ADDRESSES)
        assert held.about["record"] == str(tmp_path / "wire" / "pumps.jsonl")
        assert held_ports(tmp_path / "locks") == []


def test_device_without_a_port_of_ours_is_opened_told_to_stop_and_left(tmp_path, monkeypatch):
    told = []

    class ByHand:
        name = "evom"
        open, stop, close = (
            lambda self, what=what: told.append(what) for what in ("open", "stop", "close")
        )

    make = replace(DRIVERS["manual_teer"], build=lambda name, port, entry, wait_s: ByHand())
    monkeypatch.setitem(DRIVERS, "manual_teer", make)
    meter = ManualTeerEntry(make="manual_teer", instrument="evom", channels={"C01": 0})
    with device(ScriptedBus()) as url:
        lab = settings(url).model_copy(update={"impedance_meters": {"evom": meter}})
        assert [port.name for port in bench_ports(lab)] == ["pumps"]
        with open_bench(lab, tmp_path / "wire", lock_dir=tmp_path / "locks") as bench:
            assert list(bench.meters) == ["evom"]
            request_stop(directory=tmp_path / "locks")
    assert told == ["open", "stop", "close"]
