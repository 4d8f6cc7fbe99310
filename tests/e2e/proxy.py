"""A proxy that serves another server below a path and strips it, as notebooks do; the server behind knows nothing of it."""

from __future__ import annotations

import contextlib
import html
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

HELD = {"connection", "transfer-encoding", "date", "server"}
"""Headers that are each connection's own."""


@contextlib.contextmanager
def stripping(base: str, path: str = "/user/somebody/proxy/6006/") -> Iterator[str]:
    """The address, on a free port of 127.0.0.1, below which `base` is served.

    `/notebook?HASH` there is a page that frames it at `#HASH` in 800 by 600 pixels; anything else is 404.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, _, fragment = self.path.partition("?")
            if name == "/notebook":
                framed = f"{path}#{html.escape(unquote(fragment))}"
                frame = f'<!doctype html><iframe width="800" height="600" src="{framed}"></iframe>'
                self._pass(200, [("Content-Type", "text/html")], frame.encode())
                return
            if not self.path.startswith(path):
                self.send_error(404)
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
            request = urllib.request.Request(base + self.path.removeprefix(path), headers=headers)
            try:
                with urllib.request.urlopen(request) as answer:
                    self._pass(answer.status, answer.headers.items(), answer.read())
            except urllib.error.HTTPError as error:
                self._pass(error.code, error.headers.items(), error.read())

        do_POST = do_GET  # TensorBoard's own tabs post; nothing of theirs is needed here

        def _pass(self, code: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response(code)
            for name, value in headers:
                if name.lower() not in HELD | {"content-length"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the page went on
                self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{path}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
