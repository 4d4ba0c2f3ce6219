"""What a driver costs on top of its device: ``python -m benchmarks.instruments [--json]``.

One emulated NE-1000 in a process of its own answers a status query on a pseudo terminal. Four ways to
ask it run in turns within one process, so that a busy machine is busy for all of them: bare
``os.write`` and ``os.read`` (the emulator's own answer time), our driver (framing, recorded bytes on
disk, locks, deadlines), pymeasure's `SerialAdapter` and PyLabRobot's `Serial`, both with nothing but
their own write and read-until on top. Overhead is the median over the bare median. Peers that are
not installed are named as absent: ``pip install pymeasure pylabrobot`` in an environment of its own.
Nothing here is a test. The time from a stop in another process to its first byte on the wire is
measured by ``python -m benchmarks.instruments_stop``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from instruments.pumps.new_era_ne1000 import NewEraNE1000
from instruments.transport import PortSettings, SerialTransport
from instruments.wire_recorder import WireRecorder

QUERY, END = b"0DIS\r", b"\x03"
EMULATOR = """
import time
from instruments.emulators.faults import FaultyWire
from instruments.emulators.ne1000 import Ne1000, Ne1000Settings
from instruments.emulators.serve import Switchboard
pump = Ne1000(Ne1000Settings(), lambda: time.monotonic() / 3600, time.monotonic)
board = Switchboard()
print(board.add_device("pump", FaultyWire(pump, time.monotonic)).pty, flush=True)
board.run()
"""


def ways(pty: str, folder: Path, stack: ExitStack) -> dict[str, tuple[Callable[[], Any], str]]:
    """Return name -> (one status query, version); each opens the pty beside the others."""
    found: dict[str, tuple[Callable[[], Any], str]] = {}
    bare = os.open(pty, os.O_RDWR | os.O_NOCTTY)
    stack.callback(os.close, bare)

    def ask_bare() -> bytes:
        os.write(bare, QUERY)
        answer = b""
        while not answer.endswith(END):
            answer += os.read(bare, 1000)
        return answer

    found["bare"] = (ask_bare, "")

    recorder = WireRecorder(folder / "wire.jsonl")
    stack.callback(recorder.close)
    port = SerialTransport(
        pty, settings=PortSettings(19200), recorder=recorder, lock_dir=folder / "locks"
    )
    stack.callback(port.close)
    pump = NewEraNE1000(
        "P",
        port,
        address=0,
        syringe_diameter_mm=26.59,
        syringe_volume_ul=60_000,
        min_flow_rate_ul_h=3.0,
        safe_mode=False,
        watchdog_s=0,
    )
    pump.open()
    found["chiploop driver"] = (pump.status, "")
    return found


def peers(pty: str, stack: ExitStack) -> dict[str, tuple[Callable[[], Any], str]]:
    """Return the peers that are installed; an own port each, none of them locks it."""
    found: dict[str, tuple[Callable[[], Any], str]] = {}
    try:
        import pymeasure
        from pymeasure.adapters import SerialAdapter
    except ImportError:
        pass
    else:
        adapter = SerialAdapter(
            pty, write_termination="\r", read_termination=END.decode(), baudrate=19200, timeout=1
        )
        stack.callback(adapter.connection.close)

        def ask_pymeasure() -> str:
            adapter.write("0DIS")
            return str(adapter.read())

        found["pymeasure SerialAdapter"] = (ask_pymeasure, pymeasure.__version__)
    try:
        import pylabrobot
        from pylabrobot.io.serial import Serial
    except ImportError:
        return found
    loop = asyncio.new_event_loop()
    stack.callback(loop.close)
    io = Serial("NE-1000", port=pty, baudrate=19200)
    loop.run_until_complete(io.setup())
    stack.callback(lambda: loop.run_until_complete(io.stop()))

    async def ask_by_byte() -> bytes:
        await io.write(QUERY)
        answer = b""
        while not answer.endswith(END):
            answer += await io.read(1)
        return answer

    found["PyLabRobot Serial, read(1)"] = (
        lambda: loop.run_until_complete(ask_by_byte()),
        pylabrobot.__version__,
    )
    return found


def measure(n: int, rounds: int) -> dict[str, Any]:
    """Return the seconds of every way, in turns."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        emulator = subprocess.Popen(
            [sys.executable, "-c", EMULATOR],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        stack.callback(emulator.wait)
        stack.callback(emulator.kill)
        assert emulator.stdout is not None
        stack.callback(emulator.stdout.close)
        pty = emulator.stdout.readline().strip()
        asking = ways(pty, folder, stack)
        asking |= peers(pty, stack)
        seconds: dict[str, list[float]] = {name: [] for name in asking}
        for _ in range(rounds):
            for name, (ask, _version) in asking.items():
                for _ in range(n // rounds):
                    begun = time.perf_counter()
                    ask()
                    seconds[name].append(time.perf_counter() - begun)
        bare_s = statistics.median(seconds["bare"])
        rows = {
            name: {
                "version": asking[name][1],
                "median_ms": 1e3 * statistics.median(each),
                "p95_ms": 1e3 * sorted(each)[int(0.95 * len(each))],
                "overhead_ms": 1e3 * (statistics.median(each) - bare_s),
            }
            for name, each in seconds.items()
        }
    ours = rows["chiploop driver"]["overhead_ms"]
    for row in rows.values():
        row["overhead_over_ours"] = row["overhead_ms"] / ours  # type: ignore[operator]
    missing = [name for name in ("pymeasure", "PyLabRobot") if not any(name in r for r in rows)]
    return {
        "machine": f"{platform.processor() or platform.machine()}, Python {platform.python_version()}",
        "transactions": n,
        "rows": rows,
        "not_installed": missing,
    }


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.n, options.rounds)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    print(f"{found['transactions']} status queries each, in turns; {found['machine']}")
    print(f"{'':32}{'median ms':>10}{'p95 ms':>10}{'overhead ms':>13}{'over ours':>11}")
    for name, row in found["rows"].items():
        told = f"{name} {row['version']}".strip()
        ratio = "" if name == "bare" else f"{row['overhead_over_ours']:.2f}"
        print(
            f"{told:32}{row['median_ms']:10.3f}{row['p95_ms']:10.3f}"
            f"{row['overhead_ms']:13.3f}{ratio:>11}"
        )
    for name in found["not_installed"]:
        print(f"{name} is not installed here: not measured")


if __name__ == "__main__":
    main()
