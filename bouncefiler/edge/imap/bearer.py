"""Logging in with an access token: OAUTHBEARER (RFC 7628), or XOAUTH2, which Google and Microsoft had before it.

https://developers.google.com/workspace/gmail/imap/xoauth2-protocol,
https://learn.microsoft.com/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field

from bouncefiler.settings import Server

_SEPARATOR = "\x01"


@dataclass(slots=True)
class Bearer:
    """What is said during AUTHENTICATE; a server that refuses the token says why, and wants one answer more."""

    mechanism: str
    token: bytes = field(repr=False)
    """The first thing that is said."""
    closing: bytes
    """What is said when the token has been refused."""
    why: str = field(default="", init=False)
    """The server's reason; empty when it gave none. Untrusted."""
    _said: bool = field(default=False, init=False)

    def __call__(self, challenge: bytes) -> bytes:
        """Answer the server."""
        if not self._said:
            self._said = True
            return self.token
        self.why = _reason(challenge)
        return self.closing


def bearer(server: Server, token: str, offered: Collection[str]) -> Bearer | None:
    """Return what to say to a server that offers these capabilities; None when it takes no tokens."""
    if "AUTH=OAUTHBEARER" in offered:
        user = server.user.replace("=", "=3D").replace(",", "=2C")  # RFC 5801, 4: saslname
        return _saying("OAUTHBEARER", f"n,a={user},", f"host={server.host}", f"port={server.port}", token)
    if "AUTH=XOAUTH2" in offered:
        return _saying("XOAUTH2", f"user={server.user}", token)
    return None


def _saying(mechanism: str, *fields: str) -> Bearer:
    *others, token = fields
    said = _SEPARATOR.join((*others, f"auth=Bearer {token}", "", ""))
    return Bearer(mechanism, said.encode(), _SEPARATOR.encode() if mechanism == "OAUTHBEARER" else b"")


def _reason(challenge: bytes) -> str:
    """Read the JSON in which a server says what is wrong with a token (RFC 7628, 3.2.2); as it is where it is none."""
    text = challenge.decode("utf-8", "replace")
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return text
    known = ("status", "error_description", "scope")
    return ", ".join(str(told[name]) for name in known if told.get(name)) if isinstance(told, dict) else text
