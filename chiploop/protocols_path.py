"""Where the protocols that come with chiploop stand: drugs, chips, donors, kits, studies (YAML).

Belongs here: the place. Not here: reading them (chiploop/study.py).
"""

from __future__ import annotations

from pathlib import Path

from chiploop.errors import FileNotValid


def protocols_folder() -> Path:
    """Return the folder of shipped protocols: in an installed package, or beside it in a checkout.

    Raises
    ------
    FileNotValid
        The installation is damaged: neither place exists.
    """
    package = Path(__file__).resolve().parent
    places = (package / "_protocols", package.parent / "protocols")
    for place in places:
        if place.is_dir():
            return place
    raise FileNotValid(
        "The protocols that come with chiploop are missing; "
        f"looked in {places[0]} and {places[1]}. Install chiploop again."
    )
