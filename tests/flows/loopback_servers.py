"""Servers of the test's own process on loopback: SMTP with and without STARTTLS, and HTTP.

Belongs here: as much of both protocols as a sender meets, and how a server can spoil it. Not here: tests.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"


@dataclass
class MailRoom:
    """What an SMTP server does and what it got."""

    tls: ssl.SSLContext | None = None
    """Offers STARTTLS where it has one."""
    refuse: dict[str, str] = field(default_factory=dict)
    """Verb -> answer in place of its own, for as long as it stands here."""
    silent: threading.Event | None = None
    """Greets nobody before this is set."""
    mails: list[str] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    """(user, password) that came through TLS."""
    in_the_clear: list[str] = field(default_factory=list)
    """Lines that came without TLS."""
    port: int = 0


class _Smtp(socketserver.StreamRequestHandler):
    server: Any

    def handle(self) -> None:
        room: MailRoom = self.server.room
        if room.silent is not None:
            room.silent.wait(30.0)
        is_tls = False
        self.say("220 loopback")
        while line := self.rfile.readline().decode().rstrip("\r\n"):
            verb = line.split()[0].upper()
            if not is_tls:
                room.in_the_clear.append(line)
            if verb in room.refuse:
                self.say(room.refuse[verb])
            elif verb == "EHLO":
                extensions = ["loopback"]
                extensions += ["STARTTLS"] if room.tls and not is_tls else []
                extensions += ["AUTH PLAIN"] if is_tls else []
                for one in extensions[:-1]:
                    self.say(f"250-{one}")
                self.say(f"250 {extensions[-1]}")
            elif verb == "STARTTLS" and room.tls:
                self.say("220 go on")
                try:
                    self.connection = room.tls.wrap_socket(self.connection, server_side=True)
                except ssl.SSLError:  # the client does not trust us
                    return
                self.rfile = self.connection.makefile("rb")
                self.wfile = self.connection.makefile("wb", 0)  # type: ignore[assignment]
                is_tls = True
            elif verb == "AUTH":
                _, user, password = base64.b64decode(line.split()[2]).decode().split("\0")
                room.logins.append((user, password))
                self.say("235 welcome")
            elif verb == "DATA":
                self.say("354 go on")
                lines = []
                while (one := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                    lines.append(one)
                room.mails.append("\n".join(lines))
                self.say("250 kept")
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")

    def finish(self) -> None:
        super().finish()
        self.connection.close()  # TLS has a socket of its own

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())
        self.wfile.flush()


class _Threads(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    room: MailRoom


@contextmanager
def smtp_server(room: MailRoom) -> Iterator[MailRoom]:
    """Serve SMTP on a free port."""
    with _Threads((HOST, 0), _Smtp) as server:
        server.room, room.port = room, server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield room
        finally:
            if room.silent is not None:
                room.silent.set()
            server.shutdown()


@dataclass
class Hook:
    """What an HTTP server answers and what it got."""

    status: int = 200
    got: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""


@contextmanager
def http_server(hook: Hook, path: str = "/hook/s3cret?x=1") -> Iterator[Hook]:
    """Serve POST on a free port; anything but the path is 404."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == path and hook.status == 200:
                hook.got.append(json.loads(body))
            self.send_response(hook.status if self.path == path else 404)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing."""

    with HTTPServer((HOST, 0), Answer) as server:
        hook.url = f"http://{HOST}:{server.server_address[1]}{path}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield hook
        finally:
            server.shutdown()


def own_certificate(folder: Path) -> Path:
    """Write a certificate for loopback with its key into one file; return it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address(HOST))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    kind = serialization.PrivateFormat.PKCS8
    path = folder / "loopback.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, kind, plain)
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path
