"""Who may do what on the page: link tokens, signed sessions, form tokens and numbers that are good once.

Belongs here: making and checking them, as values. Not here: requests (guards), what a role sees (pages).

A link's token opens a session of its role; the session is a signed cookie, which a script can not read. A form
carries the session's own token and a number that is taken back when it is used: an approval that is sent twice,
or sent again from a copied request, counts once. All keys die with the process.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["approver", "viewer"]
SESSION_S = 12 * 3600.0
"""How long a session lasts; the link opens another one while the page is served."""
MOST_NUMBERS = 500
"""Form numbers that are remembered of one session; older ones count as used."""


@dataclass(frozen=True)
class Session:
    """Somebody who came with a link."""

    role: Role
    name: str
    """Random; tells sessions apart."""
    until_s: float
    """Wall clock."""

    @property
    def may_decide(self) -> bool:
        """Whether forms are for this session."""
        return self.role == "approver"


@dataclass
class Tickets:
    """The keys of one served page."""

    now_s: Callable[[], float] = time.time
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    links: dict[Role, str] = field(
        default_factory=lambda: {
            "approver": secrets.token_urlsafe(32),
            "viewer": secrets.token_urlsafe(32),
        }
    )
    """Role -> token of its link."""
    _numbers: dict[Session, deque[str]] = field(default_factory=dict)
    """Session -> numbers that were given out and not used, oldest first."""

    def enter(self, token: str) -> str | None:
        """Return the cookie of a new session; None for a token that opens nothing."""
        for role, known in self.links.items():
            if hmac.compare_digest(known.encode(), token.encode()):
                return self._signed(role)
        return None

    def session_of(self, cookie: str) -> Session | None:
        """Return the session of a cookie; None where it was not signed here, was altered or is over."""
        text, _, sign = cookie.partition(".")
        if not hmac.compare_digest(self._sign("session", text).encode(), sign.encode()):
            return None
        said = json.loads(base64.urlsafe_b64decode(text))
        session = Session(said["role"], said["name"], said["until_s"])
        return session if self.now_s() < session.until_s else None

    def form_token(self, session: Session) -> str:
        """Return what every form of a session must carry."""
        return self._sign("form", session.name)

    def is_form_of(self, session: Session, token: str) -> bool:
        """Return whether a form was made for this session."""
        return hmac.compare_digest(self.form_token(session).encode(), token.encode())

    def number(self, session: Session) -> str:
        """Return a number that this session may use once; no other session's numbers are lost for it."""
        for old in [one for one in self._numbers if one.until_s <= self.now_s()]:
            del self._numbers[old]
        number = secrets.token_urlsafe(18)
        self._numbers.setdefault(session, deque(maxlen=MOST_NUMBERS)).append(number)
        return number

    def use(self, session: Session, number: str) -> bool:
        """Take a number back; False where it was used before or is another session's."""
        own = self._numbers.get(session, ())
        if number not in own:
            return False
        self._numbers[session].remove(number)
        return True

    def _signed(self, role: Role) -> str:
        said = {
            "role": role,
            "name": secrets.token_urlsafe(16),
            "until_s": self.now_s() + SESSION_S,
        }
        text = base64.urlsafe_b64encode(json.dumps(said).encode()).decode()
        return f"{text}.{self._sign('session', text)}"

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self.secret, f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()
