"""Serves one page to browsers on this machine, until it is interrupted."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from presence.errors import InputError

HOST = "127.0.0.1"  # other machines cannot reach it


def serve_page(
    page: str,
    *,
    port: int = 0,
    browser: bool = True,
    started: Callable[[str], None] = print,
) -> None:
    """Serves a page at the root of a local address; returns after Ctrl-C.

    Args:
        page: HTML.
        port: 0 takes any that is free.
        browser: open it in the user's browser.
        started: called with the address once it answers.

    Raises:
        InputError: the port cannot be used.
    """
    with make_server(page, port) as server:
        address = f"http://{HOST}:{server.server_port}/"
        started(address)
        if browser:
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass


def make_server(page: str, port: int) -> ThreadingHTTPServer:
    """Returns a server, bound to its port, that answers `/` with the page and no other path."""
    body = page.encode("utf-8")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.split("?")[0] != "/":
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing: requests are no news here."""

    try:
        return ThreadingHTTPServer((HOST, port), Handler)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"port {port} cannot be used ({error}): give another, or 0 for any that is free"
        ) from error
