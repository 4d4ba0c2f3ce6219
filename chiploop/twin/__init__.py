"""The patient twin: virtual patients with atopic dermatitis, drugs in them, forecasts for one of them.

Belongs here: the published disease model and its population, drug exposure and effect, trials and what-ifs on
virtual patients, virtual control arms. Not here: chips and their calibration (chiploop.models,
chiploop.inference), pages (chiploop.report).

Research use only; not for clinical decisions.
"""

RESEARCH_USE = "Research use only; not for clinical decisions."
"""Stands on every output."""
