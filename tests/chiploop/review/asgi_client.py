"""A browser's requests to a page in this process, without a socket; keeps cookies.

Belongs here: asking. Starlette's own test client asks for a library that nothing else here needs.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx


class AsgiClient:
    """Asks an ASGI application."""

    def __init__(self, app: Any, base_url: str) -> None:
        self.app, self.base_url = app, base_url
        self.cookies = httpx.Cookies()

    def get(self, path: str, **given: Any) -> httpx.Response:
        """Ask for a page."""
        return self.ask("GET", path, **given)

    def post(self, path: str, **given: Any) -> httpx.Response:
        """Send a form."""
        return self.ask("POST", path, **given)

    def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        """Send one request; what the application raises is raised here."""

        async def answer() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(
                transport=transport, base_url=self.base_url, cookies=self.cookies
            ) as client:
                got = await client.request(method, path, **given)
                self.cookies = client.cookies
                return got

        return asyncio.run(answer())
