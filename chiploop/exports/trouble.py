"""Kinds of trouble that a folder watcher must tell apart.

Belongs here: kinds. Not here: wording; that is written where it happens.
"""

from __future__ import annotations

from chiploop.errors import FileNotValid


class ExportIncomplete(FileNotValid):
    """A file whose end is not there (yet): the program may still be writing it."""


class FormatNotKnown(FileNotValid):
    """A file that is no export of any program that is read."""


class LibraryMissing(FileNotValid):
    """A file whose format needs a library that is not installed; the file itself may be good."""
