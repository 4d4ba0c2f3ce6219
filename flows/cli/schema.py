"""``chiploop schema``: the JSON schema of study or patients' files, for editors that complete and underline."""

from __future__ import annotations

from pathlib import Path

import typer


def schema(
    output: Path | None = typer.Option(None, "--output", "-o", help="Write to this file instead."),
    patient: bool = typer.Option(False, "--patient", help="Of a patient's file instead."),
) -> None:
    """Print the JSON schema of study files, or of patients' files.

    An editor reads it through the first line of a file:
    # yaml-language-server: $schema=PATH
    """
    from chiploop.errors import WrongUse

    if patient:
        from chiploop.twin.patient_file import patient_schema_text

        text = patient_schema_text()
    else:
        from chiploop.study import schema_text

        text = schema_text()
    if output is None:
        print(text, end="")
        return
    try:
        output.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise WrongUse(f"{output} can not be written: {error.strerror}") from None
