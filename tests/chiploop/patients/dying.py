"""Stores whose process was killed at a named place: ``python -m tests.chiploop.patients.dying FOLDER``.

Each place has its own folder below. A process of its own, because one that has threads must not fork.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from chiploop.patients.store import PatientStore
from tests.chiploop.patients.stores import CODE, TODAY, another, rich, store, with_patient

FIRST, SECOND = rich(), rich(patient="P-0428", baseline={"easi": 27.1828})
CHANGED = rich(age_years=48)


def add(books: PatientStore) -> None:
    books.add(SECOND, TODAY)


def change(books: PatientStore) -> None:
    books.change(books.find(CODE), CHANGED, "visit")


def delete(books: PatientStore) -> None:
    books.delete(books.find(CODE), "withdrawn")


def protect(books: PatientStore) -> None:
    books.protect("key-file", another)


DEATHS: tuple[tuple[str, Callable[[PatientStore], None]], ...] = (
    ("patient_announced", add),
    ("patient_key_written", add),
    ("patient_values_written", add),
    ("patient_values_written", change),
    ("patient_change_told", change),
    ("patient_deletion_told", delete),
    ("patient_key_erased", delete),
    ("patient_values_erased", delete),
    ("patient_keys_sealed_anew", protect),
)
"""Place and what was being done."""


def folder_of(place: str, doing: Callable[[PatientStore], None]) -> str:
    return f"{doing.__name__}-{place}"


def main(folder: Path) -> None:
    with_patient(folder / "template")
    for place, doing in DEATHS:
        here = folder / folder_of(place, doing)
        shutil.copytree(folder / "template", here)
        child = os.fork()
        if not child:
            os.environ["CHIPLOOP_FAULT"] = place
            with store(here) as books:
                doing(books)
            os._exit(0)  # it was not killed
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        (here / "killed").write_text(str(killed))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
