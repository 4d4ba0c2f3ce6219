"""Real vendor files, spoiled in every way of ``export_mutation_kinds``: what do the readers do?

    python -m benchmarks.export_mutations             the matrix
    python -m benchmarks.export_mutations --random 100000   and so many random mutations, what is read judged

Belongs here: outcomes and their table. Not here: how a file is spoiled. An outcome is "refused", "same"
(every number as in the whole file), "flagged" (fewer or other numbers, and a note or a reason of the
very file says so), "SILENT" (fewer or other numbers and nothing said) or "BUG" (an exception that is
none of ours). The last two must not occur.
"""

from __future__ import annotations

import argparse
import math
import random
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Final

from benchmarks.export_mutation_kinds import BEYOND_THE_FILE, KINDS, WholeFile, whole_file
from chiploop.assays.plate_assay import plate_results
from chiploop.assays.plate_wells import wells_of_export
from chiploop.errors import ChiploopError
from chiploop.exports import read_export_bytes
from chiploop.exports.export import Export

EXPORTS: Final = Path(__file__).resolve().parents[2] / "shared" / "data" / "vendor_exports"
PLATE_OUTCOMES: Final = (
    "no standards", "judged, accepted", "judged, not accepted", "refused as a plate",
)  # fmt: skip
FORBIDDEN: Final = ("SILENT", "BUG")


def whole_files(folder: Path = EXPORTS) -> list[WholeFile]:
    """Return the real files, read whole."""
    found = []
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        found.append(whole_file(path.name, data, read_export_bytes(data, path.name)))
    return found


def outcome(data: bytes, whole: WholeFile) -> str:
    """Return what the readers make of a spoiled file, beside the whole one."""
    try:
        export = read_export_bytes(data, whole.name)
    except ChiploopError:
        return "refused"
    except Exception:
        return "BUG"
    return compare(export, whole.export)


def compare(export: Export, whole: Export) -> str:
    """Return ``same``, ``flagged`` or ``SILENT`` for a file that was read."""
    before, now = _values(whole), _values(export)
    changed = [key for key in before.keys() | now.keys() if before.get(key) != now.get(key)]
    if not changed:
        return "same"
    if set(export.notes) - set(whole.notes):
        return "flagged"
    said = {key: reasons for key, _, reasons in _rows(export)}
    told = {key: reasons for key, _, reasons in _rows(whole)}
    if all(set(said.get(key, ())) - set(told.get(key, ())) for key in changed):
        return "flagged"
    return "SILENT"


Key = tuple[str, str, str, str, str]


def _rows(export: Export) -> list[tuple[Key, tuple[float, float, float], tuple[str, ...]]]:
    rows = []
    for row in export.rows:
        one = row.readout
        key = (row.plate, row.statistic, one.well, one.sample, one.analyte)
        value = -1e300 if math.isnan(one.value) else one.value  # NaN is not equal to itself
        rows.append((key, (value, one.lower, one.upper), one.reasons))
    return rows


def _values(export: Export) -> dict[Key, tuple[float, float, float]]:
    return {key: value for key, value, _ in _rows(export)}


def matrix(files: list[WholeFile]) -> dict[str, dict[str, Counter[str]]]:
    """Return kind -> file -> how often each outcome came."""
    return {
        kind: {file.name: Counter(outcome(data, file) for data in spoil(file)) for file in files}
        for kind, spoil in (KINDS | BEYOND_THE_FILE).items()
    }


def random_mutation(data: bytes, rng: random.Random) -> bytes:
    """Return the bytes of a file with one to four random changes."""
    spoiled = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(spoiled) + 1)
        size = min(int(rng.expovariate(1 / 20)) + 1, 4000)
        kind = rng.randrange(6)
        if kind == 0:
            del spoiled[at : at + size]
        elif kind == 1:
            spoiled[at:at] = spoiled[at : at + size]
        elif kind == 2:
            spoiled[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 3:
            spoiled[at:at] = rng.choice(
                [b",", b"\t", b";", b'"', b"\n", b"\r", b"\x00", b"1e999", b"-", b"9" * 30]
            )
        elif kind == 4:
            other = rng.randrange(len(spoiled) + 1)
            spoiled[at:at] = spoiled[other : other + size]
        else:
            del spoiled[at:]
        if not spoiled:
            spoiled += b"\n"
    return bytes(spoiled)


def random_outcomes(
    files: list[WholeFile], count: int, seed: int = 1, as_plates: bool = False
) -> Counter[str]:
    """Return how often each outcome came over random mutations; own kinds and bugs only.

    With ``as_plates`` what is read is judged as well, as by `chiploop plate --model 4pl`.
    """
    rng = random.Random(seed)
    outcomes: Counter[str] = Counter()
    for i in range(count):
        file = files[i % len(files)]
        data = random_mutation(file.data, rng)
        try:
            export = read_export_bytes(data, file.name)
            outcomes["read"] += 1
        except ChiploopError:
            outcomes["refused"] += 1
            continue
        except Exception as error:
            outcomes[f"BUG {type(error).__name__}"] += 1
            continue
        if as_plates:
            outcomes[judged(export)] += 1
    return outcomes


def judged(export: Export) -> str:
    """Return what becomes of a read file as a plate, one of `PLATE_OUTCOMES` or a bug."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            results = plate_results(wells_of_export(export, least_beads=35).analytes, asked="4pl")
    except ChiploopError:
        return "refused as a plate"
    except Exception as error:
        return f"BUG as a plate {type(error).__name__}: {error}"
    if not results:
        return "no standards"
    return (
        "judged, accepted" if all(one.qc != "fail" for one in results) else "judged, not accepted"
    )


def _cell(counts: Counter[str]) -> str:
    if not counts:
        return "-"
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items()))


def main() -> None:
    """Print the matrix."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--random", type=int, default=0, help="number of random mutations")
    parser.add_argument("--seed", type=int, default=1, help="of the random mutations")
    parser.add_argument("--only-random", action="store_true", help="leave the matrix out")
    arguments = parser.parse_args()
    files = whole_files()
    if arguments.only_random:
        print_random(files, arguments.random, arguments.seed)
        return
    found = matrix(files)
    short = [file.name.rsplit(".", 1)[0][:24] for file in files]
    print("| mutation | " + " | ".join(short) + " |")
    print("| --- " * (len(files) + 1) + "|")
    for kind, cells in found.items():
        print(f"| {kind} | " + " | ".join(_cell(cells[file.name]) for file in files) + " |")
    bad = sum(
        counts[name] for kind in KINDS for counts in found[kind].values() for name in FORBIDDEN
    )
    print(f"\n{bad} of {sum(c.total() for k in KINDS for c in found[k].values())} in silence")
    if arguments.random:
        print_random(files, arguments.random, arguments.seed)


def print_random(files: list[WholeFile], count: int, seed: int) -> None:
    """Print the outcomes of random mutations."""
    start = time.perf_counter()
    outcomes = random_outcomes(files, count, seed, as_plates=True)
    seconds = time.perf_counter() - start
    print(f"{count} random mutations, seed {seed}, in {seconds:.0f} s")
    for name, n in outcomes.items():
        print(f"{n:>8} {name}")


if __name__ == "__main__":
    main()
