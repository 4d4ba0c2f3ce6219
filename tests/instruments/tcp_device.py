"""A device on TCP loopback that answers by a function of the bytes that came."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager


@contextmanager
def device(answer):
    """Serve on TCP; ``answer`` maps what came to pieces, None or ``hang up``."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.05)
    ended = threading.Event()

    def serve():
        while not ended.is_set():
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(0.05)
                while not ended.is_set():
                    try:
                        piece = connection.recv(1000)
                    except TimeoutError:
                        continue
                    if not piece:
                        break
                    reply = answer(piece)
                    if reply == "hang up":
                        break
                    for part in reply or ():
                        connection.sendall(part)
                        time.sleep(0.01)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"socket://127.0.0.1:{server.getsockname()[1]}"
    finally:
        ended.set()
        thread.join()
        server.close()
