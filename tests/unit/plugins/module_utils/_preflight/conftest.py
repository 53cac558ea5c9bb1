"""Servers on loopback that speak just enough, and refuse what the real ones refuse."""

from __future__ import annotations

import socket
import ssl
import threading
import typing as t

import pytest

Handler = t.Callable[[socket.socket], None]


@pytest.fixture
def serve() -> t.Iterator[t.Callable[[Handler], int]]:
    """Start a handler for one connection; returns the port. A handler that objects fails the test."""
    objections: list[BaseException] = []
    threads: list[threading.Thread] = []
    listeners: list[socket.socket] = []

    def start(handler: Handler) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(5)
        listeners.append(listener)

        def accept() -> None:
            try:
                connection, _address = listener.accept()
                connection.settimeout(5)
                with connection:
                    handler(connection)
            except (ConnectionError, ssl.SSLError):
                return  # the client may hang up, and may refuse our certificate
            except BaseException as error:
                objections.append(error)

        thread = threading.Thread(target=accept, daemon=True)
        threads.append(thread)
        thread.start()
        return int(listener.getsockname()[1])

    yield start
    for thread in threads:
        thread.join(10)
    for listener in listeners:
        listener.close()
    assert objections == []


@pytest.fixture
def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
