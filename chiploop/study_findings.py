"""What a rule between the parts of a study returns: one broken rule, at a place in the file.

Belongs here: the value, and the finding for a name that is not known. Not here: rules (study_checks).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from chiploop.study_yaml import Place


class Found(NamedTuple):
    """One broken rule, at a place in the file."""

    place: Place
    message: str
    hint: str = ""


Rule = Callable[..., Iterator[Found]]


def unknown(name: str, known: Collection[str], place: Place, what: str) -> Iterator[Found]:
    """Yield a finding for a name that is not among the known ones, with the nearest of them."""
    if name not in known:
        same = difflib.get_close_matches(name.lower(), [one.lower() for one in known], n=1)
        near = [one for one in known if one.lower() in same]
        yield Found(
            place,
            f"{name} is not known here; known: {', '.join(known)}. It must be a {what}",
            f'did you mean "{near[0]}"?' if near else "",
        )
