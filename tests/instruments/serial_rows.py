"""The published and recorded byte exchanges of one device, as the shared data folder holds them."""

from __future__ import annotations

import csv
from pathlib import Path


def rows(shared_data: Path, device: str) -> list[tuple[bytes, bytes, str]]:
    """Return (sent, received, meaning) of every row of a device; either may be empty."""

    def unescape(text: str) -> bytes:
        return text.encode("latin-1").decode("unicode_escape").encode("latin-1")

    with (shared_data / "serial_exchanges.csv").open(encoding="utf-8", newline="") as file:
        found = [
            (unescape(row["sent"]), unescape(row["received"]), row["meaning"])
            for row in csv.DictReader(file)
            if row["device"] == device
        ]
    assert found, f"no exchange of {device}"
    return found


def one_at_a_time(answer_length, received: bytes) -> int | None:
    """Return where the framing first says complete, fed byte by byte."""
    for end in range(1, len(received) + 1):
        if (length := answer_length(received[:end])) is not None:
            assert length <= end
            return length
    return None
