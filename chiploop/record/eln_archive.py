"""A run as an ``.eln`` file: a zipped RO-Crate that electronic lab notebooks open.

Belongs here: the archive's layout and ro-crate-metadata.json. Not here: which files of a run go in (eln_run).
Format: The ELN File Format (ELN Consortium) on RO-Crate 1.1. One root folder named after the file; the root
dataset has one entry, the run, with name, authors, dates, readable text and its files, each with SHA-256 and size.

The same content gives the same bytes: no time of writing stands anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from chiploop.record.chain import RecordBroken
from chiploop.record.fixed_zip import FixedZip, Packed

METADATA = "ro-crate-metadata.json"
PROFILE = "https://w3id.org/ro/crate/1.1"
ENTRY = "./run/"
TYPES: dict[str, str] = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".nc": "application/x-netcdf",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".toml": "application/toml",
    ".txt": "text/plain",
    ".xml": "application/xml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".ant": "text/plain",
}
"""Ending of a file -> its media type; another one is bytes."""


@dataclass(frozen=True)
class Part:
    """One file of the entry."""

    name: str
    """Below the entry, with ``/`` between folders."""
    about: str
    """One sentence for people."""
    source: Path | bytes
    """Where it is, or what it holds."""
    sha256: str = ""
    """What it must be, of files whose digest is on record."""


@dataclass(frozen=True)
class Entry:
    """What a notebook shows of a run."""

    name: str
    text: str
    """HTML without script."""
    authors: tuple[str, ...]
    """Logins of the people on record; empty where nobody did anything."""
    keywords: tuple[str, ...]
    created_utc: str
    last_utc: str
    """The last row of the run on record."""
    software_version: str
    facts: tuple[tuple[str, str], ...]
    """Further properties: seed, digest of the study, head of the audit chain."""


def write_eln(path: Path, entry: Entry, parts: Iterator[Part]) -> dict[str, int]:
    """Write the archive; return how many files and bytes are in it.

    Raises RecordBroken for a file that is not what the record says, and leaves no archive then.
    """
    root, packed = path.name.removesuffix(".eln") or "run", []
    with FixedZip(path) as archive:
        for part in parts:
            name = f"{root}/{ENTRY.removeprefix('./')}{part.name}"
            if isinstance(part.source, bytes):
                written = archive.add_bytes(name, part.source)
            elif part.source.is_file():
                written = archive.add_file(name, part.source)
            else:
                raise RecordBroken(f"{part.source} is gone, which is {part.name} of the record")
            if part.sha256 and part.sha256 != written.sha256:
                raise RecordBroken(
                    f"{part.name} of the record is not what was kept under its digest"
                )
            packed.append((part, written))
        about = json.dumps(metadata(entry, packed), indent=1, ensure_ascii=False, sort_keys=True)
        archive.add_bytes(f"{root}/{METADATA}", about.encode("utf-8"))
    return {"files": len(packed), "bytes": sum(one.size_bytes for _, one in packed)}


def metadata(entry: Entry, packed: list[tuple[Part, Packed]]) -> dict[str, Any]:
    """Return ro-crate-metadata.json."""
    people = [{"@id": f"#person-{quote(login)}"} for login in entry.authors]
    files = [file_node(part, written) for part, written in packed]
    software = {"@id": "#chiploop"}
    descriptor = {
        "@id": METADATA,
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": {"@id": PROFILE},
        "dateCreated": entry.created_utc,
        "sdPublisher": software,
        "version": "1.0",
    }
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": entry.name,
        "description": f"A run of chiploop with its whole record: {entry.name}",
        "datePublished": entry.last_utc,
        "hasPart": [{"@id": ENTRY}],
    }
    run = {
        "@id": ENTRY,
        "@type": "Dataset",
        "name": entry.name,
        "author": people or software,
        "dateCreated": entry.created_utc,
        "dateModified": entry.last_utc,
        "keywords": list(entry.keywords),
        "text": entry.text,
        "encodingFormat": "text/html",
        "hasPart": [{"@id": node["@id"]} for node in files],
        "variableMeasured": [{"@id": f"#fact-{i}"} for i in range(len(entry.facts))],
    }
    return {
        "@context": f"{PROFILE}/context",
        "@graph": [
            descriptor,
            root,
            run,
            {
                "@id": software["@id"],
                "@type": "SoftwareApplication",
                "name": "chiploop",
                "softwareVersion": entry.software_version,
            },
            *(
                {"@id": node["@id"], "@type": "Person", "name": login, "identifier": login}
                for node, login in zip(people, entry.authors, strict=True)
            ),
            *(
                {"@id": f"#fact-{i}", "@type": "PropertyValue", "propertyID": name, "value": value}
                for i, (name, value) in enumerate(entry.facts)
            ),
            *files,
        ],
    }


def file_node(part: Part, written: Packed) -> dict[str, Any]:
    """Return what the metadata say of one file."""
    return {
        "@id": ENTRY + quote(part.name),
        "@type": "File",
        "name": part.name.rsplit("/", 1)[-1],
        "description": part.about,
        "contentSize": str(written.size_bytes),
        "encodingFormat": TYPES.get(Path(part.name).suffix.lower(), "application/octet-stream"),
        "sha256": written.sha256,
    }
