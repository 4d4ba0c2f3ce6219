"""The documentation site: Sphinx with MyST and the furo theme. Built with warnings as errors by `make docs`.

Belongs here: settings, and the page that is written from the schema before each build. Not here: pages.
Nothing is loaded from another host when a page is read: no web fonts, no script from outside.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from study_reference import write_reference  # noqa: E402

import chiploop  # noqa: E402

project = "chiploop"
author = "The chiploop developers"
project_copyright = "The chiploop developers"
release = version = chiploop.__version__

extensions = ["myst_parser", "mathml"]
myst_enable_extensions = ["deflist", "dollarmath"]
html_math_renderer = "mathml"
myst_heading_anchors = 4
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True

html_theme = "furo"
html_title = f"chiploop {release}"
html_static_path = ["static"]
html_css_files = ["equations.css"]
html_extra_path = ["proposal_rows.jsonl"]
html_copy_source = False
html_show_sphinx = False

write_reference(HERE / "study_reference.md")
