"""Folder names as the server writes them, and as the user does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from imapclient import imap_utf7

HOLDS_NOTHING = frozenset({"\\nonexistent", "\\noselect"})
"""Flags, in lower case, of what is listed and holds no mail (RFC 5258, 3; RFC 3501, 7.2.2)."""


@dataclass(frozen=True, slots=True)
class FolderInfo:
    r"""A folder by the name that the configuration takes, and what the server says of it, such as \Trash."""

    name: str
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Names:
    """How this server writes folder names: the personal namespace (RFC 2342), and the prefixes of the other ones.

    The user writes "/" between levels and no prefix: "Bounces/Full" is the server's "INBOX.Bounces.Full". A name that
    already is the server's own is taken as it is.
    """

    prefix: str = ""
    separator: str = "/"
    """Empty when the server has no levels."""
    elsewhere: tuple[str, ...] = ()

    def to_server(self, name: str) -> str:
        """Return the server's name for what the user wrote."""
        if name.upper() == "INBOX":  # RFC 3501, 5.1: in any case
            return "INBOX"
        own = name.replace("/", self.separator) if self.separator and not self._is_own(name) else name
        if self.separator and own.upper().startswith("INBOX" + self.separator):
            own = "INBOX" + own[5:]
        return own if self._is_own(own) else self.prefix + own

    def to_user(self, name: str) -> str:
        """Return what the user may write for the server's name; the server's own where nothing else will do."""
        short = name.removeprefix(self.prefix)
        short = short.replace(self.separator, "/") if self.separator else short
        return short if short and self.to_server(short) == name else name

    def _is_own(self, name: str) -> bool:
        return name.startswith(tuple(prefix for prefix in (self.prefix, *self.elsewhere) if prefix))


_QUOTED = rb'"(?:[^"\\\r\n]|\\.)*"'

_NAMESPACE = re.compile(rb"\((" + _QUOTED + rb") (" + _QUOTED + rb"|NIL)", re.IGNORECASE)

_LIST = re.compile(rb"\* LIST \(([^)]*)\) (" + _QUOTED + rb"|NIL) (?:(" + _QUOTED + rb")|\{\d+\}\r\n)?", re.IGNORECASE)


def names_of(lines: Iterable[bytes]) -> Names:
    """Read a NAMESPACE response (RFC 2342, 5), or for want of one the LIST response that tells the separator."""
    for line in lines:
        if line[:12].upper() == b"* NAMESPACE ":  # personal namespaces come first, or NIL
            spaces = [(_decoded(_unquoted(prefix)), _separator(sep)) for prefix, sep in _NAMESPACE.findall(line)]
            own = spaces.pop(0) if spaces and line[12:13] == b"(" else ("", "/")
            return Names(*own, tuple(prefix for prefix, _ in spaces if prefix))
        if found := _LIST.match(line):
            return Names("", _separator(found[2]))
    return Names()


def listed(lines: Iterable[bytes]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the folders' names and flags out of LIST responses (RFC 3501, 7.2.2)."""
    for line in lines:
        if found := _LIST.match(line):
            name = _unquoted(found[3]) if found[3] else line[found.end() :].removesuffix(b"\r\n")
            yield _decoded(name), tuple(found[1].decode("ascii", "replace").split())


def _separator(value: bytes) -> str:
    return "" if value.upper() == b"NIL" else _unquoted(value).decode("ascii", "replace")


def _unquoted(value: bytes) -> bytes:
    return re.sub(rb"\\(.)", rb"\1", value[1:-1])


def encoded(name: str) -> bytes:
    """Write a folder name as the server takes it: modified UTF-7 (RFC 3501, 5.1.3), quoted."""
    return quoted(imap_utf7.encode(name))


def briefly(name: str) -> bytes:
    """Write it without quotation marks where it needs none (RFC 3501, 9: atom), for a question that is asked often."""
    octets = imap_utf7.encode(name)
    return (
        octets if re.fullmatch(rb"[A-Za-z][A-Za-z0-9]{0,60}", octets) and octets.upper() != b"NIL" else quoted(octets)
    )


def _decoded(name: bytes) -> str:
    if name.isascii():
        with suppress(ValueError):
            return str(imap_utf7.decode(name))
    return name.decode("utf-8", "replace")  # some other client has put it there as it was


def quoted(octets: bytes) -> bytes:
    """Write octets as a quoted string (RFC 3501, 4.3)."""
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
