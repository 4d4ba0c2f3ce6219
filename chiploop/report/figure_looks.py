"""Colours of figures in two looks, light and dark: a figure follows the page, and print stays light.

Belongs here: which colour stands for which in the dark, how an SVG says so. Not here: drawing (svg and what
imports it), the page's own colours (page_style.css.j2).

A figure is drawn once, in light colours. In its SVG each of them becomes a variable of the figure's root, whose
own style sheet has both values: the same text follows the reader's setting inline in a page and as a file alone.
Colours on a photograph or on a coloured field do not change, for what is below them does not.
"""

from __future__ import annotations

import re

PAPER = "#ffffff"
DARK_PAPER = "#15191c"
"""As page_style.css.j2 has both."""
ON_PALE, ON_FULL = "#1b1f22", "#fdfdfd"
"""Letters on a coloured field that is the same in both looks."""
FOUND, MISSING, EDGE = "#56b4e9", "#e69f00", "#0072b2"
"""Marks on a photograph."""
KEPT = (ON_PALE, ON_FULL, FOUND, MISSING, EDGE)
BLACK = "#000000"
"""What an SVG fills with where nothing is said."""

LOOKS: dict[str, tuple[str, str]] = {
    # light -> (name of its variable, dark)
    "#222222": ("a", "#e2e6e9"),  # ink
    "#5f6b76": ("b", "#a3adb7"),  # quiet
    "#3f6f9f": ("c", "#7fb2e5"),  # the model's mean
    "#c3d4e6": ("d", "#2c4864"),  # predictive band
    "#e9edf1": ("e", "#262d33"),  # band
    "#cc3311": ("f", "#ff8066"),  # truth, SIMULATED
    "#b00020": ("g", "#ff9aa8"),  # failed, left out
    "#d4601c": ("h", "#f2a45f"),  # dose
    "#004488": ("i", "#77aadd"),  # donors
    "#bb5566": ("j", "#ffaabb"),
    "#117733": ("l", "#44bb99"),
    "#8a6a00": ("m", "#eedd88"),
    "#663388": ("n", "#c9a0f0"),
    BLACK: ("k", "#e6e9ec"),
    "#0077bb": ("o", "#66b5ee"),  # further drugs
    "#009988": ("p", "#4fc9b8"),
    "#aa3377": ("q", "#ee88bb"),
    "#8a7d00": ("r", "#d9c84a"),
    PAPER: ("w", DARK_PAPER),
    "#e3e6ea": ("x", "#30383f"),  # grid
    "#d5dbe1": ("y", "#3a444d"),  # prior
}
COLOUR = re.compile(r":(#[0-9a-f]{6})\b(?!-)")
"""In a look: an address of a shape has no colon before it."""
STYLE = "<style>"


def in_two_looks(text: str, short: str) -> str:
    """Return a lean SVG whose colours follow the reader's setting; ``short`` becomes the class of its root."""
    used = {BLACK} | {one for one in COLOUR.findall(text) if one in LOOKS}
    named = [(light, *LOOKS[light]) for light in LOOKS if light in used]

    def variable(found: re.Match[str]) -> str:
        return f":var(--{LOOKS[found[1]][0]})" if found[1] in LOOKS else found[0]

    text = COLOUR.sub(variable, text)
    light = "".join(f"--{name}:{colour};" for colour, name, _ in named)
    dark = "".join(f"--{name}:{colour};" for _, name, colour in named)
    rules = (
        f".{short}{{{light}fill:var(--{LOOKS[BLACK][0]})}}"
        f"@media screen and (prefers-color-scheme:dark){{.{short}{{{dark}}}}}"
    )
    if STYLE in text:
        return text.replace(STYLE, f"{STYLE}{rules}", 1)
    return re.sub(r"<svg[^>]*>", lambda root: f"{root[0]}\n{STYLE}{rules}</style>", text, count=1)
