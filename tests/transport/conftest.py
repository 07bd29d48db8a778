"""What the transport's tests share: one self-signed certificate.

It is made by the openssl command; where there is none, the tests that need it are skipped and say so.
"""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, 127.0.0.1 and cdn.example, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl command to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    alt = "subjectAltName=DNS:localhost,DNS:cdn.example,IP:127.0.0.1"
    where = ["-subj", "/CN=localhost", "-addext", alt, "-keyout", str(key), "-out", str(cert)]
    subprocess.run([openssl, *kind, *where], check=True, capture_output=True, timeout=60)
    return cert, key


@pytest.fixture
def server_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """The server's side of that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


@pytest.fixture
def client_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """A TLS context that trusts it."""
    return ssl.create_default_context(cafile=str(certificate[0]))
