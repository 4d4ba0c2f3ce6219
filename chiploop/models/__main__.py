"""Compile the models that chiploop ships into this computer's cache: ``python -m chiploop.models``.

Set-up calls it once, so that the first study does not wait for a compiler.
"""

from __future__ import annotations

from chiploop.models.tissue_model import MODELS, load_model

for name in MODELS:
    model = load_model(name)
    print(
        f"model {name}: {len(model.compiled.states)} states, {len(model.estimated)} estimated parameters"
    )
