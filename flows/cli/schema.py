"""``chiploop schema``: the JSON schema of study files, for editors that complete and underline."""

from __future__ import annotations

from pathlib import Path

import typer


def schema(
    output: Path | None = typer.Option(None, "--output", "-o", help="Write to this file instead."),
) -> None:
    """Print the JSON schema of study files.

    An editor reads it through the first line of a study file:
    # yaml-language-server: $schema=PATH
    """
    from chiploop.errors import WrongUse
    from chiploop.study import schema_text

    if output is None:
        print(schema_text(), end="")
        return
    try:
        output.write_text(schema_text(), encoding="utf-8", newline="\n")
    except OSError as error:
        raise WrongUse(f"{output} can not be written: {error.strerror}") from None
