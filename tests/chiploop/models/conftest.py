"""Models that several files of this folder ask for."""

from __future__ import annotations

import pytest

from chiploop.models.tissue_model import MODELS, TissueModel, load_model
from tests.chiploop.models.chips import DEMO, with_every_protein


@pytest.fixture(scope="session")
def model() -> TissueModel:
    """The fitted model as the loop uses it."""
    return load_model("skin_chip", DEMO)


@pytest.fixture(scope="session")
def precise() -> TissueModel:
    """The fitted model with a tight tolerance."""
    return TissueModel("skin_chip", MODELS["skin_chip"], 1e-8, DEMO)


@pytest.fixture(scope="session")
def complete(tmp_path_factory: pytest.TempPathFactory) -> TissueModel:
    """The same text with every state needed, and a tight tolerance."""
    return with_every_protein(tmp_path_factory.mktemp("model"), rtol=1e-8)
