"""The files that a study names: drug, chip, donors, kits, model, laboratory.

Belongs here: finding and reading them. Not here: what they mean for the study.
A name is looked up in the study's own project first (the folder above it that holds ``protocols``),
then in the protocols that chiploop ships.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from chiploop.errors import Problem
from chiploop.models.facts import MODELS, SUFFIXES, ModelFacts, facts_path, read_model_facts
from chiploop.protocols_path import protocols_folder
from chiploop.study_fields import FROM_FILE, Part
from chiploop.study_parts import Assay, AssayText, Chip, Donor, Drug, Kit
from chiploop.study_patients import DonorPatient
from chiploop.study_problems import problems_of
from chiploop.study_yaml import Place, YamlText, field_name, read_yaml

Named = TypeVar("Named", bound=Part)

FOLDERS: dict[type[Part], str] = {Drug: "drugs", Chip: "chips", Kit: "kits", Donor: "donors"}
"""Kind of file -> its folder below protocols."""


def project_root(path: Path) -> Path | None:
    """Return the nearest folder above a file that holds ``protocols``; None without one."""
    for folder in path.resolve().parents:
        if (folder / "protocols").is_dir():
            return folder
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


class References:
    """Reads the files that one study names and collects what is wrong with them."""

    def __init__(self, text: YamlText) -> None:
        self.text = text
        self.problems: list[Problem] = []
        root = project_root(text.path)
        self.roots = [text.path.resolve().parent, *([root] if root else [])]

    def resolve(self, parts: dict[str, Any]) -> dict[str, Any]:
        """Return the parts that name files with the files' content in their place.

        A part whose file is missing or wrong becomes None; rules that need it are not judged.
        """
        resolved: dict[str, Any] = {}
        resolved |= self._drugs(parts)
        if "chip" in parts:
            resolved["chip"] = self._named(parts["chip"], Chip, ("chip",))
        if "donors" in parts:
            resolved["donors"] = self._donors(parts["donors"])
        if parts.get("patients"):
            resolved["patients"] = self._patients(parts["patients"])
        if "assays" in parts:
            resolved["assays"] = self._assays(parts["assays"])
        if "model" in parts:
            resolved["tissue"] = self._tissue(parts["model"])
        if "instruments" in parts:
            resolved["instruments"] = self._instruments(parts["instruments"])
        return resolved

    def _refuse(self, place: Place, message: str, hint: str = "") -> None:
        self.problems.append(Problem(self.text.line(place), field_name(place), message, hint))

    def _named(self, name: str, kind: type[Named], place: Place) -> Named | None:
        folder = FOLDERS[kind]
        tried = [root / "protocols" / folder / f"{name}.yaml" for root in self.roots]
        tried.append(protocols_folder() / folder / f"{name}.yaml")
        path = next((path for path in tried if path.is_file()), None)
        if path is None:
            known = sorted(
                {file.stem for file in tried for file in file.parent.glob("*.yaml")} - {name}
            )
            hint = f"there are: {', '.join(known)}" if known else ""
            self._refuse(place, f"there is no file protocols/{folder}/{name}.yaml", hint)
            return None
        found = self._file(path, kind, place)
        own = getattr(found, "name", name)
        if own != name:
            self._refuse(place, f'{path.name} calls itself "{own}", not "{name}"')
        return found

    def _file(self, path: Path, kind: type[Named], place: Place) -> Named | None:
        file = read_yaml(path)
        problems = list(file.problems)
        found: Named | None = None
        if file.values:
            values = dict(file.values)
            version = values.pop("chiploop", None)
            if version != 1 or isinstance(version, bool):
                message = (
                    'the format version is missing or not 1; the file begins with "chiploop: 1"'
                )
                problems.append(Problem(file.line(("chiploop",)), "chiploop", message))
            try:
                found = kind.model_validate(values, context=FROM_FILE, by_alias=True, by_name=False)
            except ValidationError as error:
                problems += problems_of(error, kind, file)
        self._refuse_file(path, problems, place)
        return None if problems else found

    def _refuse_file(self, path: Path, problems: list[Problem], place: Place) -> None:
        for problem in problems:
            where = f"line {problem.line}" if problem.line else "the file"
            inside = f", {problem.field}" if problem.field else ""
            self._refuse(place, f"{path} ({where}{inside}): {problem.message}", problem.hint)

    def _drugs(self, parts: dict[str, Any]) -> dict[str, Any]:
        """Return the study's ``drug`` and its ``further_drugs``; a file writes one key or the other."""
        one, several = (key in self.text.values for key in ("drug", "drugs"))
        if not one and not several:
            self._refuse(("drug",), '"drug" is missing', 'several stand under "drugs: [a, b]"')
            return {"drug": None}
        if one and several:
            message = 'a study has either "drug" or "drugs", not both'
            self._refuse(("drugs",), message, "name every drug under drugs")
            return {"drug": None}
        if one:
            name = parts.get("drug")
            drug = None if name is None else self._named(name, Drug, ("drug",))
            return {"drug": drug, "further_drugs": ()}
        names = parts.get("drugs") or ()
        for position, name in enumerate(names):
            if name in names[:position]:
                self._refuse(("drugs", position), f'drug "{name}" is here twice')
        found = [self._named(n, Drug, ("drugs", i)) for i, n in enumerate(names)]
        known = [drug for drug in found if drug is not None]
        if not known or len(known) < len(found):
            return {"drug": None}
        return {"drug": known[0], "further_drugs": tuple(known[1:])}

    def _path(self, written: str) -> Path | None:
        """Return the file that a path in the study means; either slash will do."""
        relative = Path(written.replace("\\", "/"))
        tried = [root / relative for root in self.roots]
        if relative.parts[:1] == ("protocols",):
            tried.append(protocols_folder().joinpath(*relative.parts[1:]))
        return next((path for path in tried if _is_file(path)), None)

    def _donors(self, written: tuple[str, ...]) -> dict[str, Donor] | None:
        donors: dict[str, Donor] = {}
        complete = True
        for position, name in enumerate(written):
            place: Place = ("donors", position)
            path = self._path(name)
            if path is None:
                self._refuse(
                    place,
                    f'there is no file "{name}"',
                    "a path counts from the study file or from the folder that holds protocols",
                )
            donor = self._file(path, Donor, place) if path else None
            if donor is None:
                complete = False
            elif donor.id in donors:
                self._refuse(place, f'donor "{donor.id}" is here twice')
            else:
                donors[donor.id] = donor
        return donors if complete else None

    def _patients(self, written: dict[str, DonorPatient]) -> dict[str, DonorPatient] | None:
        """Return the patients, each with the place of its file; what stands in the file is not looked at here."""
        found: dict[str, DonorPatient] = {}
        for donor, one in written.items():
            path = self._path(one.file)
            if path is None:
                self._refuse(
                    ("patients", donor, "file"),
                    f'there is no file "{one.file}"',
                    "a path counts from the study file or from the folder that holds protocols",
                )
            else:
                found[donor] = one.model_copy(update={"file": str(path.resolve())})
        return found if len(found) == len(written) else None

    def _assays(self, written: dict[str, AssayText]) -> dict[str, Assay] | None:
        assays: dict[str, Assay] = {}
        for readout, assay in written.items():
            kit = self._named(assay.kit, Kit, ("assays", readout, "kit"))
            if kit is not None:
                fields = {name: getattr(assay, name) for name in AssayText.model_fields}
                assays[readout] = Assay(**(fields | {"kit": kit}))
        return assays if len(assays) == len(written) else None

    def _tissue(self, written: str) -> ModelFacts | None:
        place: Place = ("model",)
        path = MODELS.get(written) or self._path(written)
        if path is None:
            shipped = ", ".join(name for name in MODELS if not name.startswith("virtual_"))
            self._refuse(
                place,
                f'"{written}" is neither a tissue model of chiploop nor a file',
                f"shipped: {shipped}; a path counts from the study file",
            )
            return None
        if path.suffix not in SUFFIXES:
            self._refuse(place, f"{path} is not a model text: that is an .ant or SBML .xml file")
            return None
        if not facts_path(path).is_file():
            self._refuse(
                place,
                f"there is no {facts_path(path).name} beside {path}",
                "it says inputs, readouts and priors, as skin_chip.yaml of chiploop does",
            )
            return None
        facts, problems = read_model_facts(path, for_study=True)
        self._refuse_file(facts_path(path), problems, place)
        truth = facts.truth_path() if facts else None
        if truth is not None:
            self._refuse_file(facts_path(truth), read_model_facts(truth, for_study=True)[1], place)
        return facts

    def _instruments(self, written: str) -> str | None:
        if written == "virtual":
            return written
        path = self._path(written)
        if path is None:
            self._refuse(
                ("instruments",),
                f'"{written}" is neither "virtual" nor a file',
                "name the lab.toml of your laboratory",
            )
            return None
        return str(path)
