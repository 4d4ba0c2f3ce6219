"""``chiploop twin export``: a patient's values to somebody else, under a data-use note."""

from __future__ import annotations

from pathlib import Path

import typer

from flows.cli.output_files import FORCE, refuse_existing, write_to
from flows.cli.patient_store import KEY_FILE, STORE, WHO, opened, today
from flows.cli.screen import JSON_OPTION, print_json


def export(
    patient: str = WHO,
    out: Path = typer.Argument(metavar="OUT.yaml", help="File to write."),
    purpose: str = typer.Option(..., "--purpose", help="research or teaching."),
    recipient: str = typer.Option(..., "--recipient", help="Institution that gets it."),
    parts: str = typer.Option("", "--parts", metavar="A,B", help="Only these parts."),
    store: Path = STORE,
    key_file: Path | None = KEY_FILE,
    force: bool = FORCE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Write a patient's values for another laboratory, with another code and a note of what may be done with them.

    The consent must have sharing and the purpose. Recipient, purpose and the export's code stand on the audit, so
    that a deletion names whom to tell. Exit code 2 for what can not be asked, 3 where it was not agreed to. With
    --json: {"ok", "id", "export", "file", "purpose", "recipient", "research_use_only"}.
    """
    from chiploop.patients import data_use
    from chiploop.twin import RESEARCH_USE

    refuse_existing([out], force)
    named = [part.strip() for part in parts.split(",") if part.strip()]
    with opened(store, key_file) as books:
        standing = books.find(patient)
        text, code = data_use.export(
            books, standing, purpose, recipient, today(), named or data_use.PARTS
        )
        # on the audit before it is written: values that left without a trace would be worse than a trace of none
        write_to(out, lambda path: path.write_text(text, encoding="utf-8", newline="\n"))
    if as_json:
        told = {"ok": True, "id": standing.patient_id, "export": code, "file": str(out)}
        told |= {"purpose": purpose, "recipient": recipient}
        print_json({**told, "research_use_only": True})
        return
    print(f"{out}: {standing.patient_id[:8]} as {code}, for {purpose} by {recipient}")
    print(RESEARCH_USE)
