"""How long one 30-plex xPONENT plate takes to parse, and how much memory a byte of a file takes.

    python -m benchmarks.exports
    python -m benchmarks.exports --python peer/bin/python   beside allotropy, in its own environment

Belongs here: the plate (made here, with the tables that the program writes) and the clock. Not here: what
is right (tests).
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from chiploop.exports import read_export_bytes

N_ANALYTES: Final = 30
N_STANDARDS: Final = 16
N_SAMPLES: Final = 80
REPEATS: Final = 15
PEER: Final = """
import sys, time
from allotropy.parser_factory import Vendor
from allotropy.to_allotrope import allotrope_from_file
for _ in range(3):
    start = time.process_time()
    allotrope_from_file(sys.argv[1], Vendor.LUMINEX_XPONENT)
    print("SECONDS", time.process_time() - start, flush=True)
"""


def thirty_plex(one_digit: bool = False) -> bytes:
    """Return a plate of 96 wells and 30 analytes as xPONENT 4.3 would write it.

    Parameters
    ----------
    one_digit : every number is one character, the most values that fit into a file of its size.
    """
    rng = np.random.default_rng(1)
    analytes = [f"Analyte {i + 1}" for i in range(N_ANALYTES)]
    names = [f"Standard{i + 1}" for i in range(N_STANDARDS)]
    names += [f"Unknown{i + 1}" for i in range(N_SAMPLES)]
    wells = [f"{row}{column}" for column in range(1, 13) for row in "ABCDEFGH"]
    lines = [
        '"Program","xPONENT","","FlexMAP 3D"', '"Build","4.3.229.0"',
        '"Date","05/17/2023","6:42 PM"', "", '"SN","FM3DD00000000"', '"Batch","made"',
        '"Version","1"', '"Operator","made"', '"ComputerName","made"', '"Country Code","7F"',
        '"ProtocolName","made"', '"ProtocolVersion","1"', '"ProtocolDescription","made"',
        '"ProtocolDevelopingCompany","made"', '"SampleVolume","50 uL"',
        '"DDGate","5000 to 25000"', '"SampleTimeout","0 sec"', '"BatchStartTime","5/17/2023 6:42:29 PM"',
        '"BatchStopTime","5/17/2023 7:06:59 PM"',
        '"ProtocolPlate","Name","Current 96-well plate","Type","96","Plates","1"',
        f'"ProtocolMicrosphere","Map","FlexMAP 3D Map","Type","MagPlex","Count","{N_ANALYTES}"',
        '"ProtocolReporterGain","Standard PMT"', "",
        '"Most Recent Calibration and Verification Results:"',
        '"Last F3DeCAL1 Calibration","Passed 05/17/2023 09:25:11"', "",
        '"CALInfo:"', '"Classification Calibrator Extended"',
        '"Lot","ExpirationDate","CalibrationTime","Result","MachineSerialNo"',
        '"A1","02/08/2024","5/17/2023 9:24:54 AM","Pass","FM3DD00000000"', "",
        '"Samples","96","Min Events","50","Per Bead"', "", '"Results"', "",
    ]  # fmt: skip

    def table(
        data_type: str, first: list[str], rows: list[list[str]], values: Callable[[], str]
    ) -> None:
        lines.append(f'"DataType:","{data_type}"')
        end = [] if data_type.startswith("Standard") else ["Total Events"]
        lines.append(",".join(f'"{cell}"' for cell in [*first, *analytes, *end]))
        for row in rows:
            cells = [values() for _ in (*analytes, *end)]
            lines.append(",".join(f'"{cell}"' for cell in [*row, *cells]))
        lines.append("")

    of_wells = [[f"{i + 1}(1,{wells[i]})", names[i]] for i in range(96)]

    def signal() -> str:
        return "7" if one_digit else f"{10 ** rng.uniform(1, 4.5):.1f}"

    def count() -> str:
        return "7" if one_digit else f"{rng.integers(50, 200)}"

    table("Median", ["Location", "Sample"], of_wells, signal)
    table("Net MFI", ["Location", "Sample"], of_wells, signal)
    table("Count", ["Location", "Sample"], of_wells, count)
    table("Result", ["Location", "Sample"], of_wells, signal)
    table("Avg Net MFI", ["Sample"], [[name] for name in names], signal)
    lines += ['"DataType:","Units"', ",".join(f'"{c}"' for c in ["Analyte:", *analytes])]
    lines += [",".join(f'"{c}"' for c in ["BeadID:", *map(str, range(12, 12 + N_ANALYTES))])]
    lines += [",".join(f'"{c}"' for c in ["Units:", *["pg/mL"] * N_ANALYTES]), ""]
    lines += ['"DataType:","Per Bead Count"', ",".join(f'"{c}"' for c in ["Analyte:", *analytes])]
    lines += [",".join(f'"{c}"' for c in ["Per Bead:", *["50"] * N_ANALYTES]), ""]
    lines += ['"DataType:","Dilution Factor"', '"Location","Sample","Dilution Factor"']
    lines += [f'"{place}","{name}","1"' for place, name in of_wells]
    lines += ["", "-- CRC --", "CRC32: 00000000", ""]
    return "\r\n".join(lines).encode()


def parse_times_s(data: bytes, repeats: int = REPEATS) -> list[float]:
    """Return how much processor time every reading took, s."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        read_export_bytes(data, "plate.csv")
        times.append(time.process_time() - start)
    return times


def memory_per_byte(data: bytes) -> float:
    """Return the peak of Python memory while a file is read, per byte of the file."""
    tracemalloc.start()
    read_export_bytes(data, "plate.csv")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / len(data)


def peer_seconds(python: str, data: bytes) -> float:
    """Return what allotropy needs for the same file, the quickest of three calls, s of processor time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plate.csv"
        path.write_bytes(data)
        told = subprocess.run(
            [python, "-c", PEER, str(path)], capture_output=True, text=True, check=True
        ).stdout
    return min(float(line.split()[1]) for line in told.splitlines() if line.startswith("SECONDS"))


def main() -> None:
    """Print the figures: processor time, which a busy machine does not change much."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", help="interpreter that has allotropy")
    arguments = parser.parse_args()
    data = thirty_plex()
    values = len(read_export_bytes(data, "plate.csv").rows)
    ours = median(parse_times_s(data))
    print(
        f"30-plex xPONENT plate: {len(data)} bytes, {values} values, parsed in {ours * 1e3:.1f} ms"
    )
    dense = thirty_plex(one_digit=True)
    print(
        f"memory per byte of the file: {memory_per_byte(data):.0f}, at one character a number "
        f"{memory_per_byte(dense):.0f}"
    )
    if arguments.python:
        peer = peer_seconds(arguments.python, data)
        print(f"allotropy on the same file: {peer:.2f} s, {peer / ours:.0f} times as long")


if __name__ == "__main__":
    main()
