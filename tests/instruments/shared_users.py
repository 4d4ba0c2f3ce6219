"""Processes that use shared instruments in turn; started by the tests with LAB FOLDER NAME TURNS.

Each says ``NAME begin CHIP`` and ``NAME end CHIP`` into FOLDER/log, one line per write; with TURNS ``hold`` it
takes its turn at the meter, says ``NAME holds`` and sleeps.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from instruments.bench import open_bench
from instruments.drivers import load_lab_settings
from instruments.shared import SharedMeter


def main() -> None:
    lab, folder, name, turns = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def say(what: str) -> None:
        os.write(log, f"{name} {what}\n".encode())

    settings = load_lab_settings(lab)
    run = folder / name
    run.mkdir(exist_ok=True)
    with open_bench(settings, run / "wire", run=run, lock_dir=folder / "locks") as bench:
        (meter,) = bench.meters.values()
        (reader,) = bench.readers.values()
        assert isinstance(meter, SharedMeter)
        say("ready")
        while not (folder / "begin").exists():
            time.sleep(0.002)
        if turns == "hold":
            with meter.turn():
                say("holds")
                time.sleep(600.0)
        for n in range(int(turns)):
            with meter.turn():
                say(f"begin {n}")
                for chip in settings.impedance_meters[meter.name].channels:
                    spectrum = meter.measure_spectrum(chip, float(n))
                    assert len(spectrum.impedance_ohm) == 3, spectrum
                say(f"end {n}")
            plate = reader.read_absorbance(f"{name}{n}", (450,), float(n))
            assert plate.absorbance[450].shape == (8, 12)
        say("done")


if __name__ == "__main__":
    main()
