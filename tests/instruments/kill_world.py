"""An emulated pump in a process of its own: ``python -m tests.instruments.kill_world MAKE``.

Belongs here: the process that lives on when a controller is killed. Not here: controllers
(test_kill_matrix). Prints one JSON line with its ports, then answers requests, one JSON line each:
``new`` puts a fresh pump on the wire, ``advance`` lets study time pass, ``truth`` tells what flowed.
Ends when its standard input does.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from instruments.emulators.faults import FaultyWire
from instruments.emulators.serve import Switchboard
from tests.instruments.matrix_makes import MAKES


class Swap:
    """A wire whose device can be changed for a fresh one."""

    unplugged = False

    def __init__(self, name: str) -> None:
        self.make = MAKES[name]
        self.ahead_h = 0.0
        self.fresh()

    def fresh(self) -> None:
        self.device: Any = self.make.device(lambda: self.ahead_h, time.monotonic)
        self.wire = FaultyWire(self.device, time.monotonic)

    def receive(self, data: bytes) -> bytes:
        return self.wire.receive(data)

    def poll(self) -> bytes:
        return self.wire.poll()

    def answer(self, line: str) -> str:
        request = json.loads(line)
        if request["do"] == "new":
            self.fresh()
        elif request["do"] == "advance":
            self.ahead_h += request["hours"]
        truth = {
            "delivered_ul": float(self.device.delivered_ul),
            "starts": self.device.starts,
            "moving": bool(self.device.moving),
        }
        return json.dumps(truth)


def main() -> None:
    """Serve one make until standard input ends."""
    swap = Swap(sys.argv[1])
    board = Switchboard(tick_s=0.005)
    address = board.add_device("pump", swap, with_pty=False)
    host, port = board.add_requests(swap.answer)
    print(json.dumps({"url": address.tcp, "control": [host, port]}), flush=True)

    def until_closed() -> None:
        sys.stdin.read()
        board.stop()

    threading.Thread(target=until_closed, daemon=True).start()
    board.run()
    board.close()


if __name__ == "__main__":
    main()
