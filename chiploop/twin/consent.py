"""What a patient agreed to: which use needs which word of the consent, and until when.

Belongs here: the rule. Not here: the file (patient_file), the store (chiploop.patients), what today is.
"""

from __future__ import annotations

from collections.abc import Sequence

from chiploop.errors import FileNotValid

SCOPES = ("research", "teaching", "sharing")
"""Words of a consent: research with the twin, teaching with it, giving the values to others."""
ANY = ""
USES: dict[str, str] = {
    "whatif": "research",
    "study": "research",
    "trial": "research",
    "control-arm": "research",
    "teach": "teaching",
    "export": "sharing",
    "show": ANY,
    "change": ANY,
}
"""What may be done with a patient -> the word that the consent must have; ``ANY``: whatever it has."""


class NotAgreed(FileNotValid):
    """A use that the patient did not agree to, or whose time is over; nothing was read of the patient."""

    code = "CL-360"


def why_not(scope: Sequence[str], delete_after: str, use: str, today: str) -> str:
    """Return why a use is not allowed on a day (``2030-12-31``); empty where it is. KeyError for an unknown use.

    Once the time is over nothing is allowed but deletion.
    """
    if is_over(delete_after, today):
        return f"was to be deleted after {delete_after}; it is not read. `chiploop twin delete` deletes it"
    needed = USES[use]
    if needed and needed not in scope:
        return f"the consent is for {', '.join(scope)}, not for {needed}, which {use} needs"
    return ""


def is_over(delete_after: str, today: str) -> bool:
    """Return whether the last day on which a patient may be kept has passed."""
    return delete_after < today


def check_use(scope: Sequence[str], delete_after: str, use: str, today: str, of: str) -> None:
    """Raise NotAgreed where a use of ``of`` (a file, a patient's id) is not allowed on a day."""
    if why := why_not(scope, delete_after, use, today):
        raise NotAgreed(f"{of}: {why}")
