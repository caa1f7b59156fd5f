"""A certificate for tests (of 2020, for a hundred years), and contexts that know it."""

import ssl
from pathlib import Path

DATA = Path(__file__).parent / "data"
NAME = "server.test"


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(DATA / "server.pem", DATA / "server.key")
    return context


def client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(DATA / "server.pem"))
