"""Bytes of a vendor file to text: by byte-order mark, then strict UTF-8, then a declared code page.

Belongs here: the decision which alphabet a file is written in, and what is said of it.
Not here: what the text means. Nothing is guessed by score, and no byte is replaced in silence.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from chiploop.errors import FileNotValid
from chiploop.exports.trouble import ExportIncomplete

BYTE_ORDER_MARKS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16: its mark begins with the UTF-16 one
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
LOST_CHARACTER = "\ufffd"
"""What a program writes in place of a character that it could not read."""


@dataclass(frozen=True)
class DecodedText:
    """The text of a file, how it was read, and what a person should know of it."""

    text: str
    encoding: str
    by_code_page: bool = False
    """True where the file is no UTF and the characters rest on a code page that was declared."""
    notes: tuple[str, ...] = ()


def refuse_open_end(decoded: DecodedText, name: str) -> None:
    """Raise ExportIncomplete for a text whose last line has no end: it may be cut within a number."""
    if not decoded.text.endswith("\n"):
        raise ExportIncomplete(
            f"{name}: incomplete: the last line has no end, so it may be cut within a number. "
            "Export it again."
        )


def split_mark(data: bytes) -> tuple[str | None, bytes]:
    """Return the encoding that the byte-order mark names, None without one, and the rest."""
    for mark, encoding in BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return encoding, data[len(mark) :]
    return None, data


def opening(data: bytes, n_bytes: int = 4096) -> str:
    """Return the first characters of a file: good enough to recognise its format, not to read."""
    encoding, body = split_mark(data)
    return body[:n_bytes].decode(encoding or "latin-1", errors="replace")


def decode(
    data: bytes, name: str, code_page: str | None = None, default_code_page: str | None = None
) -> DecodedText:
    """Return the text of a file.

    Parameters
    ----------
    data : the whole file.
    name : its name, for messages.
    code_page : named by the person who reads the file; used only where the file is no UTF.
    default_code_page : what the format's program is known to write where nobody names one.

    Raises
    ------
    FileNotValid : bytes that the encoding does not know, or a code page that does not exist.
    """
    marked, body = split_mark(data)
    if marked is not None:
        return _with_lost_characters(_strict(body, marked, name), marked)
    try:
        return _with_lost_characters(body.decode("utf-8"), "utf-8")
    except UnicodeDecodeError as error:
        chosen = code_page or default_code_page
        if chosen is None:
            raise FileNotValid(
                f"{name}: byte 0x{body[error.start]:02X} at {_place(body, error.start)} is not "
                "UTF-8, "
                "and the file has no byte-order mark. Name its code page, for example "
                "--code-page cp1252 for a Western European Windows."
            ) from error
        text = _strict(body, chosen, name)
        origin = "named by the caller" if code_page else "the default of this format"
        note = (
            f"byte 0x{body[error.start]:02X} at {_place(body, error.start)} is not UTF-8: the "
            "file was "
            f"read with code page {chosen} ({origin})"
        )
        decoded = _with_lost_characters(text, chosen)
        return DecodedText(text, chosen, True, (note, *decoded.notes))


def _strict(body: bytes, encoding: str, name: str) -> str:
    try:
        return body.decode(encoding)
    except LookupError as error:
        raise FileNotValid(
            f"{name}: there is no code page '{encoding}'; allowed are for example cp1252, cp1250, "
            "latin-1, cp932, utf-8."
        ) from error
    except UnicodeDecodeError as error:
        raise FileNotValid(
            f"{name}: the bytes at offset {error.start} are not {encoding} ({error.reason}); the "
            "file "
            "is cut or damaged, or its code page is another one. Export it again."
        ) from error


def _with_lost_characters(text: str, encoding: str) -> DecodedText:
    notes = []
    if LOST_CHARACTER in text:
        line = text[: text.index(LOST_CHARACTER)].count("\n") + 1
        notes.append(
            f"line {line}: {text.count(LOST_CHARACTER)} character(s) were already lost (U+FFFD) "
            "by a "
            "program that saved this file before; they are left as they are"
        )
    return DecodedText(text, encoding, False, tuple(notes))


def _place(body: bytes, offset: int) -> str:
    line_start = body.rfind(b"\n", 0, offset) + 1
    line = body.count(b"\n", 0, offset) + 1
    return f"line {line}, byte {offset - line_start + 1}"
