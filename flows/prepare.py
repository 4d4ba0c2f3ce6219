"""What set-up does once on a computer, so that the first study does not wait: ``python -m flows.prepare``.

Belongs here: the models of the shipped studies compiled into the user's cache, and Prefect's empty database
migrated into it. Not here: the environment (Makefile). Everything that is missing later is made when it is
needed.
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
            from chiploop.models.study_model import model_of
            from chiploop.protocols_path import protocols_folder
            from chiploop.study import load_study
            from chiploop.virtual_lab import truth_model

            for path in sorted((protocols_folder() / "studies").glob("*.yaml")):
                study = load_study(path)
                for model in (model_of(study), truth_model(study)):
                    states, parameters = len(model.compiled.states), len(model.estimated)
                    print(f"model {model.name}: {states} states, {parameters} estimated parameters")
            server.wait_ready()
        finally:
            server.stop()
    print("flow engine: ready")


if __name__ == "__main__":
    main()
