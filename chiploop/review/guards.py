"""What stands before every page: where a request comes from, how big it is, whose it is, and the answer's headers.

Belongs here: refusing requests. Not here: sessions (tickets), what pages say.

The page is served to one computer. A Host that is not its own is a name that was pointed here from outside (DNS
rebinding); a form from another origin was not made here. Both are refused before anything is read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 64 * 1024
"""Of a form."""
MOST_FIELDS = 1000
"""Dose and schedule of each of 300 lines are 600; they stay far below ``MOST_BYTES``."""
MOST_LETTERS = 4000
"""Of one field."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"
"""Of a figure's own file, and of a page that was written by a fit: neither may run or load anything."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # not "no-referrer": a browser then sends a form without script as from nowhere, and it is refused below
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class BadForm(Exception):
    """A form that is too big or not one."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


@dataclass(frozen=True)
class Guard:
    """Refuses what did not come from this page's own address, and gives every answer its headers."""

    app: ASGIApp
    hosts: Collection[str]
    """``127.0.0.1:8765`` and the like; a browser writes the port where it is not 80."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        said = refusal(scope["method"], Headers(scope=scope), self.hosts)
        if said:
            await PlainTextResponse(said, 403)(scope, receive, send_with_headers)
            return
        await self.app(scope, receive, send_with_headers)


def refusal(method: str, headers: Mapping[str, str], hosts: Collection[str]) -> str:
    """Return why a request is refused by its headers alone; empty where it is not."""
    host = headers.get("host", "")
    if host not in hosts:
        return f"This page is served at {', '.join(sorted(hosts))} alone."
    if method in ("GET", "HEAD"):
        return ""
    if headers.get("origin", "") != f"http://{host}":
        return "A form must come from this page itself. Nothing was decided."
    return ""


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form. Raises BadForm where it is too big, or no form."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/x-www-form-urlencoded":
        raise BadForm(415, "this is not a form of this page; nothing was decided")
    length = request.headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):  # "²" is a digit too
        raise BadForm(400, "the form does not say how long it is; nothing was decided")
    body = bytearray()
    too_big = BadForm(413, f"a form holds at most {MOST_BYTES} bytes; nothing was decided")
    if len(length) > 12 or int(length) > MOST_BYTES:
        raise too_big
    try:
        async for part in request.stream():
            body += part
            if len(body) > MOST_BYTES:
                raise too_big
        fields = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ClientDisconnect:
        raise BadForm(400, "the form did not arrive whole; nothing was decided") from None
    except ValueError as problem:  # of the decoding too
        raise BadForm(400, f"the form can not be read ({problem}); nothing was decided") from None
    if any(len(value) > MOST_LETTERS for _, value in fields):
        raise BadForm(413, f"a field holds at most {MOST_LETTERS} letters; nothing was decided")
    if any("\0" in value for _, value in fields):
        raise BadForm(400, "a field holds a letter that no text has; nothing was decided")
    return dict(fields)
