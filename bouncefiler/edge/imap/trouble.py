"""What went wrong, in our words: exceptions of sockets, TLS and imaplib, and the server's own NO, BAD and BYE.

What a server says is somebody else's text: it is shown as one short plain line, and acted upon only as far as the
tables below know it.
"""

from __future__ import annotations

import imaplib
import re
import socket
import ssl
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bouncefiler.edge.imap.wire import Garbled, Lost
from bouncefiler.errors import (
    AccountError,
    CannotMove,
    FolderMissing,
    LoginRefused,
    OverQuota,
    Throttled,
    TokenRefused,
    Unreachable,
    Untrusted,
)
from bouncefiler.settings import Server

FOREIGN = (OSError, imaplib.IMAP4.error, Lost, Garbled)
"""Whatever a connection can raise, other than our own errors and commands.Refused."""

_LATER = "trying again later may help"
_FOLDERS = "`bouncefiler folders` lists the folders that there are"
_RIGHTS = "ask the owner of the folder or the administrator for the rights"

_BY_CODE: Mapping[str, tuple[type[AccountError], str]] = {  # RFC 5530; and the next step for each
    "AUTHENTICATIONFAILED": (
        LoginRefused,
        "check `user` and the password: most large providers want an app password (`bouncefiler login` keeps it)",
    ),
    "AUTHORIZATIONFAILED": (LoginRefused, "check `user` in the configuration"),
    "EXPIRED": (LoginRefused, "set a new password at the provider, then `bouncefiler login`"),
    "WEBALERT": (LoginRefused, "log in to the provider's web mail and do what it asks"),  # Gmail
    "PRIVACYREQUIRED": (Untrusted, 'set `security = "tls"`'),
    "NONEXISTENT": (FolderMissing, _FOLDERS),
    "TRYCREATE": (FolderMissing, _FOLDERS),
    "NOPERM": (CannotMove, _RIGHTS),
    "READ-ONLY": (CannotMove, _RIGHTS),
    "OVERQUOTA": (OverQuota, "make room in the account, then run it again; nothing is lost"),
    "UNAVAILABLE": (Unreachable, _LATER),
    "SERVERBUG": (Unreachable, _LATER),
    "INUSE": (Unreachable, _LATER),
    "LIMIT": (Unreachable, f"it is too much at once for the server; {_LATER}"),
    "THROTTLED": (Throttled, "the next run waits"),
}

_BY_WORDS: tuple[tuple[str, type[AccountError], str], ...] = (  # looked for first, in NO, BAD and BYE
    # Microsoft 365, with the time to wait in milliseconds
    ("request is throttled|suggested backoff time", Throttled, "the next run waits as long"),
    # Gmail; https://support.google.com/a/answer/1071518
    ("exceeded command or bandwidth limits", Throttled, "Gmail lets go of it within a day"),
    ("too many simultaneous connections|maximum number of connections", Unreachable, "close other mail programs"),
    # Microsoft 365 and Outlook.com, which offer AUTH=PLAIN all the same
    (
        "basic authentication is (?:disabled|blocked)",
        LoginRefused,
        "the provider takes no passwords from programs any more, only access tokens (OAuth 2.0): docs/oauth.md",
    ),
    # Gmail, Yahoo, iCloud
    (
        "application-specific password|app-specific password|app password",
        LoginRefused,
        "make an app password in the provider's security settings, then `bouncefiler login`",
    ),
    # Microsoft 365
    (
        "user is authenticated but not connected",
        LoginRefused,
        "the password is right, but this user has no mailbox there: check `user`, and IMAP in the user's licence",
    ),
    (r"over ?quota|quota (?:is |has been )?(?:exceeded|full|reached)", OverQuota, "make room in the account first"),
)

_CODE = re.compile(r"\[([A-Za-z-]+)[ \]]")
_BACKOFF = re.compile(r"backoff time: *(\d{1,9}) *milliseconds", re.IGNORECASE)
_SHOWN = 200


@contextmanager
def in_our_words(server: Server) -> Iterator[None]:
    """Raise whatever a connection raises in here as one of our errors."""
    try:
        yield
    except AccountError:
        raise
    except FOREIGN as exc:
        raise _translated(server, exc) from exc


def refusal(server: Server, doing: str, said: str) -> AccountError:
    """Put a NO, BAD or BYE in our words: by what is known of its wording, by its response code, else as it is."""
    what = f"{server.host} refuses to {doing}"
    known = _by_words(what, said)
    if known:
        return known
    code = _CODE.search(said)
    kind, advice = _BY_CODE.get(
        code[1].upper() if code else "", (AccountError, "if that stays so, ask its administrator")
    )
    return kind(f"{what}: “{plain(said)}”; {advice}")


def login_refusal(server: Server, said: str) -> AccountError:
    """Put the refusal of a login in our words. A NO that does not say why means the password."""
    error = refusal(server, f"log {plain(server.user)} in", said)
    if type(error) is not AccountError:
        return error
    return LoginRefused(
        f"{server.host} refuses to log {plain(server.user)} in: “{plain(said)}”; check `user`, and set the password "
        "again with `bouncefiler login`"
    )


def token_refusal(server: Server, said: str, why: str) -> AccountError:
    """Put the refusal of an access token in our words; `why` is what the server said about the token itself."""
    error = refusal(server, f"log {plain(server.user)} in", said)
    if type(error) not in (AccountError, LoginRefused):
        return error
    told = f"“{plain(said)}”" + (f" ({plain(why)})" if why else "")
    return TokenRefused(
        f"{server.host} refuses the access token of {plain(server.user)}: {told}; check `user`, and whether what "
        "`token_from` prints is a token for IMAP: docs/oauth.md"
    )


def said_in(exc: BaseException) -> str:
    """Return the server's words out of an imaplib exception, or one that imapclient has wrapped around it."""
    inner = exc.__context__ if isinstance(exc.__context__, imaplib.IMAP4.error) else exc
    words = inner.args[0] if inner.args else ""
    return words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)


def plain(text: str) -> str:
    """Make one line of foreign text that terminals and logs can bear: no controls, no bidi, not long (CWE-150)."""
    seen = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text[: 4 * _SHOWN])
    words = " ".join(seen.split())
    return words if len(words) <= _SHOWN else words[: _SHOWN - 1] + "…"


def _translated(server: Server, exc: BaseException) -> AccountError:  # noqa: PLR0911 - a table
    place = f"{server.host}:{server.port}"
    match exc:
        case Lost():
            return _lost(server, str(exc))
        case socket.gaierror():
            return Unreachable(f"cannot find the server {server.host} ({exc.strerror}): check `host`, and the network")
        case ConnectionRefusedError():
            return Unreachable(
                f"nothing listens at {place} (connection refused): check `port` (993 for tls, 143 for starttls), or the"
                " server is down"
            )
        case TimeoutError():
            return Unreachable(
                f"no answer from {place} in time ({plain(str(exc)) or 'timed out'}): the server or the network is slow "
                "or down, or the port does not fit `security`"
            )
        case ConnectionError() | ssl.SSLError():
            return _lost(server, exc.strerror or "")
        case OSError():
            return Unreachable(f"no way to {place} ({exc.strerror or exc}): check the network")
        case imaplib.IMAP4.error() if "unexpected" not in said_in(exc):
            said = said_in(exc)
            bye = isinstance(exc, imaplib.IMAP4.abort) or said.startswith("* BYE")
            return _lost(server, said.removeprefix("* BYE ")) if bye else refusal(server, "talk to us", said)
        case _:  # imaplib's "unexpected response", and wire.Garbled
            return AccountError(
                f"{place} does not speak IMAP as it should ({plain(str(exc))}): check `host` and `port`"
            )


def _lost(server: Server, said: str) -> AccountError:
    what = f"{server.host} ended the connection"
    words = f" (“{plain(said)}”)" if said else ""
    return _by_words(what, said) or Unreachable(f"{what}{words}; the next run takes up where this one stopped")


def _by_words(what: str, said: str) -> AccountError | None:
    for pattern, kind, advice in _BY_WORDS:
        if re.search(pattern, said, re.IGNORECASE):
            message = f"{what}: “{plain(said)}”; {advice}"
            wait = _BACKOFF.search(said)
            return Throttled(message, int(wait[1]) / 1000) if kind is Throttled and wait else kind(message)
    return None
