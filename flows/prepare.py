"""What set-up does once on a computer, so that the first study does not wait: ``python -m flows.prepare``.

Belongs here: the models compiled into the user's cache, and Prefect's empty database migrated into it. Not here:
the environment (Makefile). Everything that is missing later is made when it is needed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from flows.prefect_server import start_in_background


def main() -> None:
    """Fill the caches; quick where they are full."""
    with tempfile.TemporaryDirectory() as home:
        server = start_in_background(Path(home))
        try:
            from chiploop.models.tissue_model import MODELS, load_model

            for name in MODELS:
                model = load_model(name)
                states, parameters = len(model.compiled.states), len(model.estimated)
                print(f"model {name}: {states} states, {parameters} estimated parameters")
            server.wait_ready()
        finally:
            server.stop()
    print("flow engine: ready")


if __name__ == "__main__":
    main()
