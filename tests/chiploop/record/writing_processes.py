"""Several processes that add to the same record at the same time; started by the tests.

One JSON object per line of standard input, {"url", "folder", "who": [..], "turns"}: a process for each name makes
the file ``ready-<who>`` in the folder once it has opened the record, waits for the file ``begin``, adds, and
writes what it was told to ``<who>.json``. The answer is a line of exit codes.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from pathlib import Path

from chiploop.measurement import Readout
from chiploop.record.chain import RecordConflict
from chiploop.record.exclusions import ANY_TIME, Exclusion
from chiploop.record.record import Record


def add(url: str, folder: Path, who: str, turns: int) -> None:
    """Add readouts, events, states, proposals, and decisions that others take too."""
    refused = []
    with Record(url) as record:
        (folder / f"ready-{who}").touch()
        while not (folder / "begin").exists():
            time.sleep(0.001)
        for n in range(turns):
            chip = Readout(f"{who}{n}", "TEER", 1000.0 + n, "ohm*cm2", 0.1, "log", float(n))
            record.add_readouts("r1", [chip])
            record.add_event("r1", "seen", float(n), {"by": who, "n": n})
            record.add_state("r1", f"{who}{n}", float(n))
            try:
                record.add_decision(f"r1/c{n + 1:02d}/p1", "approve", who, "fine")
            except RecordConflict as told:
                refused.append(str(told))
            exclusion = Exclusion(f"{who}{n}", "TEER", ANY_TIME, True, who, "air")
            record.add_exclusion("r1", exclusion, float(n))
            record.add_proposal(f"of {who}", n + 1, {"doses": [n]})
    (folder / f"{who}.json").write_text(json.dumps(refused))


def main() -> None:
    print("loaded", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        children = []
        for who in asked["who"]:
            child = os.fork()
            if child == 0:
                code = 0
                try:
                    add(asked["url"], Path(asked["folder"]), who, asked["turns"])
                except BaseException:
                    traceback.print_exc()
                    code = 1
                sys.stderr.flush()
                os._exit(code)
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps(codes), flush=True)


if __name__ == "__main__":
    main()
