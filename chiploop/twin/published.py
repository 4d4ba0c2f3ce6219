"""The nine biologics as the published model has them: constants, not exposure.

Belongs here: the authors' arms, for checking the model against their output. Not here: drugs by exposure and the
chip's potency (drug_effect), which is what trials and what-ifs use.
"""

from __future__ import annotations

from chiploop.twin.patient_model import PLACEBO, Effect

BLOCKED = 0.99
"""Share of its signal that every biologic takes away."""
TRALOKINUMAB_FACTOR = 0.4396
"""Fitted by the authors; their way to say that tralokinumab also keeps IL-13 off its decoy receptor."""
GIVEN_IFN_G = 210.0

PUBLISHED_ARMS: dict[str, Effect] = {
    "placebo": PLACEBO,
    "dupilumab": Effect({"e4": BLOCKED, "e13": BLOCKED}),
    "nemolizumab": Effect({"e31": BLOCKED}),
    "tezepelumab": Effect({"ets": BLOCKED}),
    "gbr830": Effect({"eox": BLOCKED}),
    "fezakinumab": Effect({"e22": BLOCKED}),
    "secukinumab": Effect({"e17": BLOCKED}),
    "rIFNg": Effect(given_ifn_g=GIVEN_IFN_G),
    "tralokinumab": Effect({"e13": BLOCKED * TRALOKINUMAB_FACTOR}),
    "lebrikizumab": Effect({"e13": BLOCKED}),
}
