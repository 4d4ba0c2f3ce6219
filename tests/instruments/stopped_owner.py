"""A process that owns a bench and waits for an answer that never comes, until it is stopped.

Run as ``python -m tests.instruments.stopped_owner``, settings as JSON on the first line of stdin. Says
``pending`` once it waits, and at its end what became of it, as JSON. A line on stdin ends it.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

from instruments.bench import open_bench
from instruments.errors import InstrumentError
from instruments.lab_settings import BusSettings, LabSettings
from instruments.pumps.new_era_ne1000 import NewEraEntry
from instruments.pumps.new_era_wire import answer_length, encode_command

ADDRESSES = {"L1-medium": 0, "L1-low": 1}
NOBODY = 9
"""An address at which no pump is."""


def lab(url: str) -> LabSettings:
    """Return a bench of two pumps on one bus."""
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
            for name, address in ADDRESSES.items()
        },
    )


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    folder = Path(asked["folder"])
    became: dict[str, str] = {}

    def try_to(what: str, act) -> None:
        try:
            became[what] = repr(act())
        except InstrumentError as trouble:
            became[what] = f"{type(trouble).__name__}: {trouble}"

    with open_bench(
        lab(asked["url"]),
        folder / "wire",
        run=folder,
        simulated=asked.get("simulated", False),
        lock_dir=Path(asked["locks"]),
    ) as bench:
        port = bench.ports["L1-medium"]
        read = threading.Thread(
            target=try_to,
            args=(
                "read",
                lambda: port.exchange(
                    encode_command(NOBODY, "VER", True),
                    answer_length,
                    deadline_s=60,
                    inter_byte_s=60,
                ),
            ),
        )
        read.start()
        print("pending", flush=True)
        sys.stdin.readline()
        if bench.halted:  # else it ends as it is: the read would be waited for
            read.join()
        try_to("prepare", lambda: bench.pumps["L1-low"].prepare(100.0, 10.0))
        became["halted"] = bench.halted
    print(json.dumps(became), flush=True)


if __name__ == "__main__":
    main()
