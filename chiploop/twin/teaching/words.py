"""What the disease model's parameters are called before a learner, and how severe an EASI is.

Belongs here: words. Not here: values.
"""

from __future__ import annotations

STRATA = ((1.0, "almost clear"), (7.0, "mild"), (21.0, "moderate"), (50.0, "severe"))
"""Upper end of EASI -> word; above is very severe (Leshem 2015, 10.1111/bjd.13662)."""
CELLS = {"T1": "Th1", "T2": "Th2", "T17": "Th17", "T22": "Th22"}
PARAMETERS: dict[str, str] = {
    "k1": "repair of the barrier by itself",
    "k2": "repair of the barrier by IL-22",
    "k3": "response to emollient and standard care",
    "b1": "how strongly IL-4 holds up repair of the barrier",
    "b2": "how strongly IL-13 holds up repair of the barrier",
    "b3": "how strongly IL-17 holds up repair of the barrier",
    "b4": "how strongly IL-22 holds up repair of the barrier",
    "b5": "how strongly IL-31 holds up repair of the barrier",
    "d1": "loss of the barrier by scratching",
    "d2": "loss of the barrier by IL-31 (itch)",
    "d3": "loss of the barrier by pathogens",
    "b6": "how well the barrier keeps pathogens out",
    "d4": "defence against pathogens by their own number",
    "d5": "defence against pathogens by IL-17",
    "d6": "defence against pathogens by IL-22",
    "d7": "defence against pathogens by IFN-g",
    "b7": "how strongly IL-4 holds up the defence against pathogens",
    "b8": "how strongly IL-13 holds up the defence against pathogens",
    "d8": "how fast pathogens come and go",
    "k5": "Th1 cells called by pathogens",
    "k6": "Th2 cells called by pathogens",
    "k7": "Th17 cells called by pathogens",
    "k8": "Th22 cells called by pathogens",
    "k9": "how IFN-g favours Th1 cells",
    "k10": "how IL-4 favours Th2 cells",
    "d9": "how fast helper cells leave",
    "b9": "how OX40L keeps helper cells",
    "k11": "IL-4 made by Th2 cells",
    "k12": "IL-4 made by other cells",
    "d10": "how fast IL-4 is cleared",
    "k13": "IL-13 made by Th2 cells",
    "k14": "IL-13 made by other cells",
    "d11": "how fast IL-13 is cleared",
    "k15": "IL-17 made by Th17 cells",
    "k16": "IL-17 made by other cells",
    "d12": "how fast IL-17 is cleared",
    "k17": "IL-22 made by Th22 cells",
    "k18": "IL-22 made by other cells",
    "d13": "how fast IL-22 is cleared",
    "k19": "IL-31 made by Th2 cells",
    "k20": "IL-31 made by other cells",
    "d14": "how fast IL-31 is cleared",
    "k21": "IFN-g made by Th1 cells",
    "k22": "IFN-g made by other cells",
    "d15": "how fast IFN-g is cleared",
    "k23": "TSLP called by pathogens",
    "k24": "TSLP made by the skin itself",
    "d16": "how fast TSLP is cleared",
    "k25": "OX40L called by TSLP",
    "k26": "OX40L made without TSLP",
    "d17": "how fast OX40L is cleared",
}
"""Parameter -> what it is, in plain words."""
MEASURED: dict[str, tuple[str, str]] = {
    "easi": ("EASI", ""),
    "tewl_g_m2_h": ("TEWL", "g/m2/h"),
    "serum_ccl17_pg_ml": ("serum CCL17", "pg/mL"),
    "th2_score": ("Th2 score", "sd of patients"),
    "th17_score": ("Th17 score", "sd of patients"),
    "th22_score": ("Th22 score", "sd of patients"),
    "microbiome_score": ("load of S. aureus", "sd of patients"),
    "flg": ("FLG", ""),
    "barrier_loss_il13": ("loss of barrier under IL-13", "x reference donor"),
    "barrier_loss_il4": ("loss of barrier under IL-4", "x reference donor"),
    "maturation": ("maturation of the barrier", "x reference donor"),
    "basal_tslp": ("TSLP without stimulus", "x reference donor"),
}
"""Key of a result -> name and unit; the IC50 of a drug is named by ``result_name``."""
FLG_WORDS = {
    "wild_type": "wild type",
    "heterozygous": "one loss-of-function allele",
    "null": "two loss-of-function alleles",
}
IC50 = "ic50_nm_"
"""Beginning of the key of a drug's IC50 on chips."""


def severity(easi: float) -> str:
    """Return the published word for an EASI."""
    return next((word for top, word in STRATA if easi <= top), "very severe")


def result_name(key: str) -> tuple[str, str]:
    """Return name and unit of a result."""
    if key.startswith(IC50):
        return f"IC50 of {key.removeprefix(IC50)}", "nM"
    return MEASURED[key]
