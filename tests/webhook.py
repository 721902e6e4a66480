"""A web server on loopback that takes notifications, or plays a bad one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

TOKEN = "t0ken-that-nobody-may-see"


@dataclass
class Webhook:
    """What came, and how to answer: with the status, or not at all for None."""

    port: int = 0
    status: int | None = 200
    location: str = ""
    endless: bool = False
    """Whether what it answers goes on as long as anybody listens."""
    came: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    end: Event = field(default_factory=Event)

    @property
    def url(self) -> str:
        """Return the URL for apprise, with a token in it as they have."""
        return f"json://127.0.0.1:{self.port}/{TOKEN}"


@contextmanager
def webhook(**how: Any) -> Iterator[Webhook]:
    """Serve until the block is left."""
    hook = Webhook(**how)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.came.append((self.path, json.loads(body)))
            self._answer()

        def do_GET(self) -> None:
            hook.came.append((self.path, {}))
            self._answer()

        def _answer(self) -> None:
            if hook.status is None:
                hook.end.wait(30)
                return
            self.send_response(hook.status)
            if hook.location:
                self.send_header("Location", hook.location)
            self.end_headers()
            with suppress(OSError):
                while hook.endless and not hook.end.is_set():
                    self.wfile.write(b"x" * 65_536)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hook.port = server.server_address[1]
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hook
    finally:
        hook.end.set()
        server.shutdown()
        server.server_close()
