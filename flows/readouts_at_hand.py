"""The readouts of a run for a dose that is under way, which waits for no network.

Belongs here: what is taken where the record's server is silent. Not here: the rules that ask (chiploop.safety).
"""

from __future__ import annotations

import logging
import threading

from chiploop.errors import InstrumentTrouble
from chiploop.measurement import Readout
from chiploop.record.record import Record

ANSWER_WITHIN_S = 2.0
LOG = logging.getLogger("chiploop.record")


class ReadoutsAtHand:
    """What is on record of a run, or what was when the record last answered.

    Readouts of a run are added by the process of the run itself; what it may miss while the server is silent is
    what a person excluded or had calculated again meanwhile.
    """

    def __init__(self, record: Record, run_id: str) -> None:
        self._record, self._run_id = record, run_id
        self._seen: tuple[Readout, ...] | None = None

    def now(self) -> tuple[Readout, ...]:
        """Return the readouts; the last ones seen where the record does not answer at once.

        RecordAway where it never answered to this process.
        """
        if self._record.is_file or self._seen is None:
            self._seen = self._record.readouts(self._run_id)
            return self._seen
        # left to its own end where it hangs: a connection can not be asked to give up
        asked = threading.Thread(target=self._ask, name="readouts", daemon=True)
        asked.start()
        asked.join(ANSWER_WITHIN_S)
        if asked.is_alive():
            LOG.warning("the record does not answer; the readouts it last told of count")
        return self._seen

    def _ask(self) -> None:
        try:
            self._seen = self._record.readouts(self._run_id)
        except InstrumentTrouble as trouble:
            LOG.warning("the readouts that the record last told of count: %s", trouble)
