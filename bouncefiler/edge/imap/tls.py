"""Who is at the other end? TLS with a certificate that an authority, or the user's own pin, vouches for (RFC 8314)."""

from __future__ import annotations

import hashlib
import hmac
import socket
import ssl
from functools import cache
from pathlib import Path

from bouncefiler.errors import Untrusted
from bouncefiler.settings import Security, Server

_FAULTS = {  # the verification errors that people meet (openssl-verification-options(1), X509_V_ERR_…)
    9: "is not valid yet: check this machine's clock",
    10: "has expired: the server's owner must renew it",
    18: "is signed by nobody but itself",
    19: "comes from an authority that nobody here knows",
    20: "comes from an authority that nobody here knows",
    21: "comes from an authority that nobody here knows",
    62: "is for another host name",
    64: "is for another address",
}


def secure(sock: socket.socket, server: Server) -> ssl.SSLSocket:
    """Begin TLS and check who answers, before anything else is sent.

    Raises ssl.SSLCertVerificationError (for `fault` to put in words), Untrusted, and OSError for network trouble.
    """
    context = _context(server.ca_file, server.fingerprint is not None)
    try:
        secured = context.wrap_socket(sock, server_hostname=server.host)
    except (ssl.SSLCertVerificationError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
        raise
    except ssl.SSLError as exc:
        raise Untrusted(_no_tls(server, exc)) from exc
    if server.fingerprint and not hmac.compare_digest(seen := _fingerprint(secured), server.fingerprint):
        secured.close()
        raise Untrusted(
            f"{server.host} shows another certificate than the one pinned by `fingerprint` (its SHA-256 is {seen}): "
            "ask its owner whether it was renewed before you change the setting; no password was sent"
        )
    return secured


def peek(sock: socket.socket) -> str:
    """Return the SHA-256 of the certificate that is shown to somebody who checks nothing, and close the socket."""
    context = _context(None, True)  # noqa: FBT003 - see there
    with context.wrap_socket(sock) as secured:
        return _fingerprint(secured)


def fault(server: Server, exc: ssl.SSLCertVerificationError, seen: str | None) -> Untrusted:
    """Say what is wrong with the certificate, and what the user can do."""
    reason = _FAULTS.get(exc.verify_code, f"does not pass: {exc.verify_message}")
    pin = f"`fingerprint` to {seen}" if seen else "`fingerprint` to its SHA-256"
    return Untrusted(
        f"the certificate of {server.host}:{server.port} {reason}; no password was sent. If you know this server, set "
        f"`ca_file` to its authority's certificate, or {pin}"
    )


@cache
def _context(ca_file: Path | None, pinned: bool) -> ssl.SSLContext:  # noqa: FBT001 - a cache's key
    """Make the context, once: loading the system's authorities takes 27 ms. With a pin the pin is checked instead."""
    if pinned:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except OSError as exc:  # SSLError, when it is no PEM file, is one too
        raise Untrusted(f"`ca_file` {ca_file} cannot be used: {exc.strerror or exc}") from exc
    if ca_file:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the file may hold the server's own certificate
    return context


def _fingerprint(secured: ssl.SSLSocket) -> str:
    return hashlib.sha256(secured.getpeercert(binary_form=True) or b"").hexdigest()


def _no_tls(server: Server, exc: ssl.SSLError) -> str:
    hint = 'does the port want `security = "starttls"`?' if server.security is Security.TLS else "is it the right port?"
    reason = (exc.reason or str(exc)).replace("_", " ").lower()
    return f"TLS with {server.host}:{server.port} failed ({reason}); {hint} No password was sent"
