"""The same spoiled files, read by allotropy in an environment of its own.

    python -m venv peer && peer/bin/pip install allotropy
    python -m benchmarks.export_mutations_allotropy --python peer/bin/python

Belongs here: running the other program and comparing its numbers with those it gives for the whole
file. Not here: our own readers (export_mutations). The first variants of every kind are read; every
number in its output counts, in whatever order.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

from benchmarks.export_mutation_kinds import KINDS
from benchmarks.export_mutations import whole_files

VENDORS: Final = {
    "gen5": "AGILENT_GEN5",
    "luminex_intelliflex": "LUMINEX_INTELLIFLEX",
    "luminex_xponent": "LUMINEX_XPONENT",
    "msd_methodical_mind": "METHODICAL_MIND",
    "msd_workbench": "MSD_WORKBENCH",
    "softmax_pro": "MOLDEV_SOFTMAX_PRO",
}
"""Our format -> its name there."""
VARIANTS: Final = 3
PEER: Final = """
import json, sys
from allotropy.exceptions import AllotropeConversionError
from allotropy.parser_factory import Vendor
from allotropy.to_allotrope import allotrope_from_file

def numbers(node):
    if isinstance(node, dict):
        value = node.get("value")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield repr(value)
        for one in node.values():
            yield from numbers(one)
    elif isinstance(node, list):
        for one in node:
            yield from numbers(one)

def errors(node):
    if isinstance(node, dict):
        return ("error" in node) + sum(map(errors, node.values()))
    return sum(map(errors, node)) if isinstance(node, list) else 0

for line in sys.stdin:
    path, vendor = json.loads(line)
    try:
        model = allotrope_from_file(path, Vendor[vendor])
        told = {"numbers": sorted(numbers(model)), "errors": errors(model)}
    except AllotropeConversionError as error:
        told = {"refused": str(error)[:200]}
    except Exception as error:
        told = {"other": type(error).__name__}
    print("TOLD " + json.dumps(told), flush=True)
"""


def outcome(told: dict[str, Any], whole: dict[str, Any]) -> str:
    """Return what the other program made of a spoiled file, beside the whole one."""
    if "refused" in told:
        return "refused"
    if "other" in told:
        return f"exception {told['other']}"
    if told["numbers"] == whole["numbers"]:
        return "same"
    if told["errors"] > whole["errors"]:
        return "error document"
    return f"SILENT {len(told['numbers'])} of {len(whole['numbers'])}"


def main() -> None:
    """Print the matrix of the other program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", required=True, help="interpreter that has allotropy")
    arguments = parser.parse_args()
    files = whole_files()
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [arguments.python, "-c", PEER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as peer,
    ):
        assert peer.stdin is not None and peer.stdout is not None

        def ask(data: bytes, name: str, key: str) -> dict[str, Any]:
            assert peer.stdin is not None and peer.stdout is not None
            path = Path(folder) / name
            path.write_bytes(data)
            peer.stdin.write(json.dumps([str(path), VENDORS[key]]) + "\n")
            peer.stdin.flush()
            line = next(line for line in peer.stdout if line.startswith("TOLD "))
            return dict(json.loads(line.removeprefix("TOLD ")))

        whole = {file.name: ask(file.data, file.name, file.export.format) for file in files}
        print("| mutation | " + " | ".join(file.name[:24] for file in files) + " |")
        print("| --- " * (len(files) + 1) + "|")
        for kind, spoil in KINDS.items():
            cells = []
            for file in files:
                base = whole[file.name]
                if "numbers" not in base:
                    cells.append("whole file refused")
                    continue
                variants = [data for data, _ in zip(spoil(file), range(VARIANTS), strict=False)]
                counts = Counter(
                    outcome(ask(data, file.name, file.export.format), base) for data in variants
                )
                told = ", ".join(f"{name} ({n}x)" for name, n in sorted(counts.items()))
                cells.append(told or "-")
            print(f"| {kind} | " + " | ".join(cells) + " |", flush=True)
        peer.stdin.close()


if __name__ == "__main__":
    main()
