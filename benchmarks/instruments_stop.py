"""How long a stop from another process takes: ``python -m benchmarks.instruments_stop --n 200``.

A process owns a bench of two emulated pumps on one bus, one of which runs, and waits up to a minute
for an answer that never comes on that same bus. Another process asks for a stop. Measured is the
time from there to the first byte of a stop command at the pumps' end of the wire, and to the report
that both stand still; then the same with an owner that does not run at all (SIGSTOP), which must be
ended first. ``--busy`` lets the owner calculate in pure Python meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from instruments.bench import open_bench
from instruments.emulators.faults import FaultyWire
from instruments.emulators.ne1000 import Ne1000, Ne1000Settings
from instruments.emulators.ne1000_bus import Ne1000Bus
from instruments.emulators.serve import Switchboard, in_background
from instruments.errors import InstrumentError
from instruments.lab_settings import BusSettings, LabSettings
from instruments.pumps.new_era_ne1000 import NewEraEntry
from instruments.pumps.new_era_wire import answer_length, encode_command
from instruments.stop_request import request_stop

PUMPS = ("P0", "P1")
NOBODY = 9
MEDIAN_BUDGET_MS, WORST_BUDGET_MS = 100.0, 500.0


class Tap:
    """The bus, and when each stop command came in."""

    def __init__(self) -> None:
        self.pumps = [
            Ne1000(
                Ne1000Settings(
                    address=address, syringe_volume_ul=60_000.0, syringe_diameter_mm=26.72
                ),
                lambda: time.monotonic() / 3600,
                time.monotonic,
            )
            for address, _ in enumerate(PUMPS)
        ]
        self.bus = Ne1000Bus(self.pumps, time.monotonic)
        self.stops_s: list[float] = []

    def receive(self, data: bytes) -> bytes:
        """Take bytes; keep the time where they begin a stop."""
        if b"STP" in data:
            self.stops_s.append(time.monotonic())
        return self.bus.receive(data)

    def poll(self) -> bytes:
        """Let time act."""
        return self.bus.poll()

    def power_cycle(self) -> None:
        """Interrupt the power."""
        self.bus.power_cycle()


def lab(url: str) -> LabSettings:
    """Return the bench of the two pumps."""
    return LabSettings(
        buses={"pumps": BusSettings(url=url)},
        pumps={
            name: NewEraEntry(
                make="new_era_ne1000",
                bus="pumps",
                address=address,
                syringe_diameter_mm=26.72,
                syringe_volume_ml=60.0,
                min_flow_rate_ul_h=3.0,
            )
            for address, name in enumerate(PUMPS)
        },
    )


def own(url: str, folder: Path, busy: bool) -> None:
    """Be the owner: for every line on stdin, open the bench, run a pump, and wait for nobody."""
    if busy:
        threading.Thread(target=_calculate, daemon=True).start()
    for round_ in sys.stdin:
        wire = folder / "wire" / f"{os.getpid()}-{round_.strip()}"
        with open_bench(
            lab(url), wire, run=wire, confirm_syringes=True, lock_dir=folder / "locks"
        ) as bench:
            pump = bench.pumps["P0"]
            pump.stop()
            pump.prepare(1000.0, 5000.0)
            pump.start()
            print("pending", flush=True)
            with suppress(InstrumentError):
                bench.ports["P0"].exchange(
                    encode_command(NOBODY, "VER", True),
                    answer_length,
                    deadline_s=60,
                    inter_byte_s=60,
                )
        print("left", flush=True)


def _calculate() -> None:
    total = 0.0
    while True:
        total = sum(x * 0.5 for x in range(1000)) + total * 1e-9


@contextmanager
def owner(url: str, folder: Path, busy: bool) -> Iterator[subprocess.Popen[str]]:
    """Run an owner; it is killed on the way out."""
    command = [sys.executable, "-m", "benchmarks.instruments_stop", "--own", url, str(folder)]
    process = subprocess.Popen(
        command + (["--busy"] if busy else []),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def one_stop(
    process: subprocess.Popen[str], tap: Tap, folder: Path, number: int, hang: bool
) -> Any:
    """Return (ms to the first stop byte, ms to the report) of one stop."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{number}\n")
    process.stdin.flush()
    said = process.stdout.readline()
    if said != "pending\n":
        raise RuntimeError(f"the owner did not open its bench: {said!r}")
    time.sleep(random.uniform(0.05, 0.1))  # noqa: NPY002 - anywhere between two looks of the owner
    if not tap.pumps[0].moving:
        raise RuntimeError("the pump does not run")
    if hang:
        process.send_signal(signal.SIGSTOP)
    asked_s = time.monotonic()
    reports = request_stop(directory=folder / "locks")
    told_s = time.monotonic()
    first_s = next(at_s for at_s in tap.stops_s if at_s >= asked_s)
    if len(reports) != 1 or set(reports[0].confirmed) != set(PUMPS) or tap.pumps[0].moving:
        raise RuntimeError(f"not stopped: {reports}")
    if not hang:
        process.stdout.readline()
    return 1e3 * (first_s - asked_s), 1e3 * (told_s - asked_s)


def measure(n: int, hung: int, busy: bool) -> dict[str, Any]:
    """Return the times of ``n`` stops of an owner that answers and ``hung`` of one that does not."""
    tap = Tap()
    board = Switchboard()
    address = board.add_device("pumps", FaultyWire(tap, time.monotonic))
    with tempfile.TemporaryDirectory() as name, in_background(board):
        folder, url = Path(name), address.pty or address.tcp
        with owner(url, folder, busy) as process:
            stops = [one_stop(process, tap, folder, number, False) for number in range(n)]
        ended = []
        for number in range(hung if hasattr(signal, "SIGSTOP") else 0):
            with owner(url, folder, busy=False) as process:
                ended.append(one_stop(process, tap, folder, number, True))
    return {
        "n": n,
        "busy": busy,
        "port": "pty" if address.pty else "tcp",
        "first_stop_byte_ms": summary([first for first, _ in stops]),
        "report_ms": summary([report for _, report in stops]),
        "hung_owner_first_stop_byte_ms": summary([first for first, _ in ended]),
        "hung_owner_report_ms": summary([report for _, report in ended]),
        "histogram": histogram([first for first, _ in stops]),
        "budget_ms": {"median": MEDIAN_BUDGET_MS, "worst": WORST_BUDGET_MS},
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
    }


def summary(times_ms: Sequence[float]) -> dict[str, float]:
    """Return number, median, 95th percentile and worst."""
    if not times_ms:
        return {}
    ordered = sorted(times_ms)
    return {
        "n": len(ordered),
        "median": round(statistics.median(ordered), 2),
        "p95": round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 2),
        "worst": round(ordered[-1], 2),
    }


def histogram(times_ms: Sequence[float], step_ms: float = 5.0) -> str:
    """Return one line per step that any time fell into."""
    counts: dict[int, int] = {}
    for time_ms in times_ms:
        counts[int(time_ms / step_ms)] = counts.get(int(time_ms / step_ms), 0) + 1
    most = max(counts.values(), default=1)
    return "\n".join(
        f"{step * step_ms:6.0f}..{(step + 1) * step_ms:<4.0f} ms "
        f"{'#' * max(1, round(40 * count / most))} {count}"
        for step, count in sorted(counts.items())
    )


def main() -> None:
    """Print the times; exit with 1 where they break the budget."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=200, help="stops of an owner that answers")
    parser.add_argument("--hung", type=int, default=10, help="stops of an owner that does not")
    parser.add_argument("--busy", action="store_true", help="the owner calculates meanwhile")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    parser.add_argument("--own", nargs=2, metavar=("URL", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.own:
        own(given.own[0], Path(given.own[1]), given.busy)
        return
    found = measure(given.n, given.hung, given.busy)
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        print(f"{found['n']} stops, owner waits on the same {found['port']}; {found['system']}")
        for name in ("first_stop_byte_ms", "report_ms", "hung_owner_report_ms"):
            print(f"  {name:24} {found[name]}")
        print(found["histogram"])
    first = found["first_stop_byte_ms"]
    sys.exit(first["median"] > MEDIAN_BUDGET_MS or first["worst"] > WORST_BUDGET_MS)


if __name__ == "__main__":
    main()
