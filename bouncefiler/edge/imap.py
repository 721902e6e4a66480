"""The account over IMAP (RFC 3501, 9051): what a sweep asks of the outside, on a real server.

imapclient brings the connection: greeting, capabilities, login, APPEND, how folder names are written. Commands whose
answers are long, or decide what happens to mail, go through stream.Pipe: imapclient cannot pipeline, does not stream,
and keeps COPYUID to itself. What a server says is data: bounded, checked, and shown only as one plain line.
"""

from __future__ import annotations

import imaplib
import ipaddress
import logging
import re
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import count, pairwise
from typing import Any, Self, TypeVar

from imapclient import IMAPClient, imap_utf7

from bouncefiler import __version__
from bouncefiler.edge import stream, tls
from bouncefiler.edge.trouble import FOREIGN, in_our_words, login_refusal, plain, refusal, said_in
from bouncefiler.errors import (
    AccountError,
    CannotMove,
    FolderMissing,
    FolderRenumbered,
    LoginRefused,
    OverQuota,
    Throttled,
    Unreachable,
    Untrusted,
)
from bouncefiler.filing.plan import MessageRef, Method, MoveBatch, uid_set
from bouncefiler.recognition.identity import MAX_HEADER_OCTETS
from bouncefiler.settings import Security, Server
from bouncefiler.sweep import FolderState, Moved, Reading, Span, Window

WINDOW = 10_000
"""Messages in one scan command."""

READ_AT_ONCE = 200
"""Messages in one command that reads their header blocks or first octets."""

OCTETS_AT_ONCE = 8 * 1024 * 1024
"""Octets of messages in one command: the answers to two of them may be held."""

REMOVE_AT_ONCE = 500
"""Messages in one command that removes copied originals."""

MAX_REFUSALS = 100
"""How many FETCH commands of one call the server may refuse before we believe that it is not about single messages."""

_LEAN_FIELDS = b"BODY.PEEK[HEADER.FIELDS (FROM SUBJECT CONTENT-TYPE MESSAGE-ID)]"
_GOODBYE_SECONDS = 5.0
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 20, "TCP_KEEPCNT": 3}

log = logging.getLogger(__name__)

T = TypeVar("T")
C = TypeVar("C", bound=stream.Command[Any])
Dial = Callable[[Server], socket.socket]


@dataclass(frozen=True, slots=True)
class FolderInfo:
    r"""A folder by the name that the configuration takes, and what the server says of it, such as \Trash."""

    name: str
    flags: tuple[str, ...]


# ── connecting ───────────────────────────────────────────────────────────────────────────────────────────────────────


def open_reader(server: Server, password: str, dial: Dial | None = None) -> ImapReader:
    """Log in to an account in order to read it: what comes back cannot change anything.

    Raises Unreachable, Throttled, Untrusted, LoginRefused, AccountError.
    """
    return ImapReader(server, _log_in(server, password, dial or _dial))


def open_account(server: Server, password: str, dial: Dial | None = None) -> ImapAccount:
    """Log in to an account in order to file its mail. Raises as `open_reader`."""
    return ImapAccount(server, _log_in(server, password, dial or _dial))


def _dial(server: Server) -> socket.socket:
    sock = socket.create_connection((server.host, server.port), server.timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # not on every system
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return sock


class _Transport(imaplib.IMAP4):
    """imaplib's protocol over our wire, which is bounded in what it reads and in time, and keeps no passwords.

    What is overridden or called with an underscore is imaplib's own, and unknown to its type stubs.
    """

    def __init__(self, server: Server, dial: Dial, secure: Callable[[socket.socket], socket.socket]) -> None:
        self._server = server
        self._dial = dial
        self._secure = secure
        super().__init__(server.host, server.port, server.timeout)

    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:  # noqa: ARG002 - imaplib's
        self.host, self.port = host, port
        try:
            sock = self._dial(self._server)
        except UnicodeError as exc:
            raise Unreachable(f"{host!r} is no host name: check `host`") from exc
        try:
            self._take(self._secure(sock) if self._server.security is Security.TLS else sock)
        except BaseException:
            sock.close()
            raise

    def ready_for_login(self) -> None:
        """Protect the connection as configured. Raises Untrusted."""
        if self.state == "AUTH":  # PREAUTH: as nobody knows whom, and past the point of STARTTLS
            raise Untrusted(f"{self.host} says that we are logged in already; no password was sent, nothing was done")
        if self._server.security is Security.STARTTLS:
            self.start_tls()

    def start_tls(self) -> None:
        """Go over to TLS (RFC 3501, 6.2.1); nothing heard before it counts (RFC 8314, 3.2; CVE-2011-0411)."""
        if "STARTTLS" not in self.capabilities:
            raise Untrusted(_no_starttls(self._server, "does not offer it"))
        try:
            status, _ = self._simple_command("STARTTLS")
        except self.abort:
            raise
        except self.error:
            status = "BAD"
        if status != "OK":
            raise Untrusted(_no_starttls(self._server, "refuses it"))
        if self.wire.unread():
            raise Untrusted(_no_starttls(self._server, "said more before it: somebody may stand in between"))
        self._take(self._secure(self.sock))
        self.untagged_responses.clear()
        self._get_capabilities()

    def authenticate(self, mechanism: str, authobject: Any) -> Any:
        """Authenticate in one turn where the server can (SASL-IR, RFC 4959)."""
        if "SASL-IR" not in self.capabilities:
            return super().authenticate(mechanism, authobject)
        process: Any = imaplib._Authenticator(authobject).process  # noqa: SLF001 - it has no other door
        self.literal = process  # in case there is a challenge all the same
        return self._logged_in(*self._simple_command("AUTHENTICATE", mechanism, process(b"")))

    def login(self, user: str, password: str) -> Any:
        """LOGIN (RFC 3501, 6.2.3), with what isn't plain ASCII as literals; imaplib's own refuses that."""
        tag = self._new_tag()
        line = tag + b" LOGIN"
        for octets in (user.encode(), password.encode()):
            if re.fullmatch(rb"[ -~]*", octets):
                line += b" " + _quoted(octets)
            elif {"LITERAL+", "LITERAL-"} & set(self.capabilities):
                line += b" {%d+}\r\n" % len(octets) + octets
            else:
                self.send(line + b" {%d}\r\n" % len(octets))
                self._await_continuation(tag)
                line = octets
        self.send(line + b"\r\n")
        return self._logged_in(*self._command_complete("LOGIN", tag))

    def _logged_in(self, status: str, data: list[Any]) -> tuple[str, list[Any]]:
        if status != "OK":
            raise self.error(data[-1])
        self.state = "AUTH"
        return status, data

    def refresh_capabilities(self) -> None:
        """They are others after login (RFC 3501, 6.2.3): take those that came with it, or ask."""
        self._get_capabilities()

    def read(self, size: int) -> bytes:
        return self.wire.read(size)

    def readline(self) -> bytes:
        line = self.wire.readline()
        self.wire.spend(len(line))
        return line

    def send(self, data: Any) -> None:
        self.wire.send(bytes(data))

    def shutdown(self) -> None:
        self.wire.close()

    def _take(self, sock: socket.socket) -> None:
        self.sock = sock
        self.wire = stream.Wire(sock, self._server.timeout)

    def _await_continuation(self, tag: bytes) -> None:
        while self._get_response():
            refused: Any = self.tagged_commands[tag]
            if refused:
                raise self.error(refused[1][-1])

    def _new_tag(self) -> bytes:
        self.wire.restart()
        tag: bytes = super()._new_tag()  # type: ignore[misc]
        return tag

    def _log(self, line: object) -> None:
        """Keep nothing: imaplib remembers the last ten lines, LOGIN among them."""

    def _get_capabilities(self) -> None:
        told: Any = self.untagged_responses.pop("CAPABILITY", None)
        if told and told[-1]:
            self.capabilities = tuple(told[-1].decode("ascii", "replace").upper().split())
        else:
            super()._get_capabilities()  # type: ignore[misc]


class _Client(IMAPClient):  # type: ignore[misc]
    """imapclient over our transport. Its own debug log would show literals, so imaplib's is switched off."""

    def __init__(self, transport: _Transport, server: Server) -> None:
        self.transport = transport
        super().__init__(server.host, server.port, ssl=False, timeout=server.timeout)
        transport.debug = 0
        self.folder_encode = False

    def _create_IMAP4(self) -> _Transport:  # noqa: N802 - imapclient's name
        return self.transport


def _log_in(server: Server, password: str, dial: Dial) -> _Client:
    if server.security is Security.PLAIN and not _is_loopback(server.host):
        raise Untrusted(f'{server.host} is not this machine, so `security = "plain"` would show the password to others')
    with in_our_words(server):
        client = _connect(server, dial)
        try:
            _authenticate(client, server, password)
        except BaseException:
            client.shutdown()
            raise
    return client


def _connect(server: Server, dial: Dial) -> _Client:
    try:
        return _secured(server, dial, partial(tls.secure, server=server))
    except ssl.SSLCertVerificationError as exc:
        raise tls.fault(server, exc, _fingerprint_seen(server, dial)) from exc


def _secured(server: Server, dial: Dial, secure: Callable[[socket.socket], socket.socket]) -> _Client:
    transport = _Transport(server, dial, secure)
    try:
        transport.ready_for_login()
        return _Client(transport, server)
    except BaseException:
        transport.shutdown()
        raise


def _fingerprint_seen(server: Server, dial: Dial) -> str | None:
    """Connect once more and look at the certificate, so that the user can compare it. Nothing is sent after TLS."""

    def look(sock: socket.socket) -> socket.socket:
        raise _Seen(tls.peek(sock))

    try:
        _secured(server, dial, look)
    except _Seen as seen:
        return str(seen)
    except (*FOREIGN, AccountError):
        return None
    return None


class _Seen(Exception):
    """The certificate's fingerprint; ends a connection that was made for nothing else."""


def _authenticate(client: _Client, server: Server, password: str) -> None:
    transport = client.transport
    offered = set(transport.capabilities)
    if "LOGINDISABLED" in offered and "AUTH=PLAIN" not in offered:
        raise _no_password_wanted(server, offered)
    if not (_can_be_sent(password) and _can_be_sent(server.user)):
        raise LoginRefused(f"the user name or the password for {server.host} has a NUL in it, or is not UTF-8")
    try:
        # RFC 4616 has UTF-8 in it; RFC 3501's LOGIN knows only ASCII, and servers differ in what they make of more.
        (client.plain_login if "AUTH=PLAIN" in offered else client.login)(server.user, password)
    except imaplib.IMAP4.error as exc:
        if isinstance(exc.__context__, imaplib.IMAP4.abort):  # imapclient calls it a refusal; it was a BYE
            raise exc.__context__ from None
        raise login_refusal(server, said_in(exc)) from exc
    transport.refresh_capabilities()


def _can_be_sent(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:  # octets of another encoding, from the environment or a command
        return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _no_password_wanted(server: Server, offered: set[str]) -> AccountError:
    if server.security is Security.PLAIN:
        return Untrusted(
            f'{server.host} takes no password over an open connection, and none was sent: set `security = "tls"`'
        )
    ways = ", ".join(sorted(way.removeprefix("AUTH=") for way in offered if way.startswith("AUTH="))) or "none"
    return LoginRefused(f"{server.host} takes no passwords; the ways to log in that it offers are: {plain(ways)}")


def _no_starttls(server: Server, does: str) -> str:
    return (
        f'`security = "starttls"`, but {server.host}:{server.port} {does}; no password was sent. '
        'Set `security = "tls"` and port 993, if the server has that'
    )


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────────


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


def _names(lines: Iterable[bytes]) -> Names:
    """Read a NAMESPACE response (RFC 2342, 5), or for want of one the LIST response that tells the separator."""
    for line in lines:
        if line[:12].upper() == b"* NAMESPACE ":  # personal namespaces come first, or NIL
            spaces = [(_decoded(_unquoted(prefix)), _separator(sep)) for prefix, sep in _NAMESPACE.findall(line)]
            own = spaces.pop(0) if spaces and line[12:13] == b"(" else ("", "/")
            return Names(*own, tuple(prefix for prefix, _ in spaces if prefix))
        if found := _LIST.match(line):
            return Names("", _separator(found[2]))
    return Names()


def _listed(lines: Iterable[bytes]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the folders' names and flags out of LIST responses (RFC 3501, 7.2.2)."""
    for line in lines:
        if found := _LIST.match(line):
            name = _unquoted(found[3]) if found[3] else line[found.end() :].removesuffix(b"\r\n")
            yield _decoded(name), tuple(found[1].decode("ascii", "replace").split())


def _separator(value: bytes) -> str:
    return "" if value.upper() == b"NIL" else _unquoted(value).decode("ascii", "replace")


def _unquoted(value: bytes) -> bytes:
    return re.sub(rb"\\(.)", rb"\1", value[1:-1])


def _encoded(name: str) -> bytes:
    """Write a folder name as the server takes it: modified UTF-7 (RFC 3501, 5.1.3), quoted."""
    return _quoted(imap_utf7.encode(name))


def _decoded(name: bytes) -> str:
    if name.isascii():
        with suppress(ValueError):
            return str(imap_utf7.decode(name))
    return name.decode("utf-8", "replace")  # some other client has put it there as it was


def _quoted(octets: bytes) -> bytes:
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


# ── the account ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Selected:
    """The selected folder, as it was when it was selected."""

    state: FolderState
    sticky: bool
    """Whether it keeps its UIDs from one session to the next."""
    writable: bool
    deletable: bool


class ImapReader:
    """An account that is read (EXAMINE, BODY.PEEK): see sweep.Reader. A context manager, which logs out at its end."""

    _VERB = b"EXAMINE"

    def __init__(self, server: Server, client: _Client) -> None:
        self._server = server
        self._client = client
        self._pipe = stream.Pipe(client.transport.wire)
        self._capabilities = frozenset(client.transport.capabilities)
        self._selected: _Selected | None = None
        self._names = Names()
        self.window = WINDOW
        try:
            self._introduce()
        except BaseException:
            client.shutdown()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Log out, where that can still be done, and hang up. Never CLOSE, which would expunge; never raises."""
        last = [b"UNSELECT"] if self._selected and "UNSELECT" in self._capabilities else []
        with suppress(*FOREIGN):
            self._client.transport.wire.source.timeout = _GOODBYE_SECONDS
            if self._pipe.idle and not self._pipe.broken:
                self._pipe.send(*(stream.Leave(text) for text in (*last, b"LOGOUT")))
                self._pipe.drain()
        self._pipe.broken = True
        self._client.shutdown()

    def noop(self) -> None:
        """Keep the connection alive. Raises Unreachable when it is dead."""
        self._demand("keep the connection", b"NOOP")

    def folders(self) -> tuple[FolderInfo, ...]:
        """List all folders by the names that the configuration takes."""
        reply = self._demand("list the folders", self._list("*"))
        found = (FolderInfo(self._names.to_user(name), flags) for name, flags in _listed(reply.lines))
        return tuple(sorted(found, key=lambda folder: (folder.name != "INBOX", folder.name.casefold())))

    def changed(self, state: FolderState) -> bool:
        """Say whether messages have come since `state` was taken, or the folder is another one. One round trip."""
        commands = [b"STATUS %s (UIDNEXT UIDVALIDITY)" % _encoded(self._names.to_server(state.folder))]
        if self._selected and "UNSELECT" in self._capabilities:  # STATUS is for folders not selected (RFC 3501, 6.3.10)
            self._selected = None
            commands.insert(0, b"UNSELECT")
        elif self._selected:
            commands.insert(0, b"NOOP")
        answer = self._ask(*commands)[-1]
        return (_fact(answer, b"UIDVALIDITY"), _fact(answer, b"UIDNEXT")) != (state.uidvalidity, state.uidnext)

    def state(self, folder: str) -> FolderState | None:
        """See sweep.Reader."""
        selected = self._select(folder)
        return selected.state if selected else None

    def scan(self, state: FolderState, span: Span, suspect: Callable[[bytes], bool]) -> Iterator[Window]:
        """See sweep.Reader. The next window is on its way while this one is worked on."""
        items = (b"UID INTERNALDATE " if span.since else b"UID ") + _LEAN_FIELDS

        def send(uids: Sequence[int]) -> stream.Command[stream.Lean]:
            at_most = min(len(uids), 4 * self.window)
            scan = stream.Scan(_fetch(uids, items), uids[0], uids[-1], at_most, suspect, span.since)
            return self._send(scan, state)

        reached = span.first_uid - 1
        for uids, lean in self._each(self._ranges(state, span.first_uid, self.window), send):
            reached = uids[-1]
            yield Window(lean.scanned, reached, lean.suspects)
        if reached < state.uidnext - 1:
            yield Window(0, state.uidnext - 1, ())

    def read(self, state: FolderState, uids: Sequence[int], octets: int) -> Iterator[Reading]:
        """See sweep.Reader."""
        wanted, most = sorted(set(uids)), max(1, min(READ_AT_ONCE, OCTETS_AT_ONCE // max(1, octets)))
        chunks = [wanted[start : start + most] for start in range(0, len(wanted), most)]
        return self._readings(state, chunks, b"BODY[]", octets)

    def headers(self, state: FolderState, first_uid: int) -> Iterator[Reading]:
        """See sweep.Reader."""
        now = self._opened(state.folder, state.uidvalidity, anew=True).state  # with the UIDNEXT of this moment
        ranges = self._ranges(now, first_uid, READ_AT_ONCE)
        return self._readings(now, ranges, b"BODY[HEADER]", MAX_HEADER_OCTETS)

    def _introduce(self) -> None:
        """Say who we are, which some servers want before anything else (163.com), and learn how they name folders."""
        commands = []
        if "ID" in self._capabilities:  # RFC 2971
            commands.append(b'ID ("name" "bouncefiler" "version" %s)' % _quoted(__version__.encode()))
        if "NAMESPACE" in self._capabilities:
            commands.append(b"NAMESPACE")
        else:
            commands.append(b'LIST "" ""')
        self._names = _names(self._ask(*commands)[-1].lines)

    def _ranges(self, state: FolderState, first_uid: int, most: int) -> list[Sequence[int]]:
        """Cut the folder, from this UID on, into ranges of UIDs of about `most` messages each."""
        end = state.uidnext
        if first_uid >= end or not state.exists:
            return []
        # Where UIDs are sparse, ranges of equal width would be many and nearly empty.
        cuts = self._cuts(state, most) if end - first_uid > 2 * most else []
        edges = [first_uid, *sorted({cut for cut in cuts if first_uid < cut < end}), end]
        return [range(*edge) for edge in pairwise(edges)]

    def _cuts(self, state: FolderState, most: int) -> list[int]:
        """Return the UID of every `most`-th message. Sequence numbers change with any answer, hence the new SELECT."""
        exists = self._opened(state.folder, state.uidvalidity, anew=True).state.exists
        numbers = range(1 + most, exists + 1, most)
        found: list[int] = []
        for start in range(0, len(numbers), 500):
            text = b",".join(b"%d" % number for number in numbers[start : start + 500])
            found.extend(self._uids(b"FETCH %s (UID)" % text))
        return found

    def _readings(
        self, state: FolderState, chunks: Iterable[Sequence[int]], section: bytes, octets: int
    ) -> Iterator[Reading]:
        part = b"" if section == b"BODY[HEADER]" else b"<0.%d>" % octets
        items = b"UID INTERNALDATE RFC822.SIZE FLAGS " + section.replace(b"BODY", b"BODY.PEEK") + part

        def send(uids: Sequence[int]) -> stream.Command[stream.Fetched]:
            at_most = min(len(uids), 4 * READ_AT_ONCE)
            wanted = uids if isinstance(uids, range) else frozenset(uids)
            return self._send(stream.Fetch(_fetch(uids, items), section, wanted, at_most, octets), state)

        seen: set[int] = set()
        last = 0
        for uids, item in self._each(chunks, send):
            if uids[0] > last:  # otherwise it is a part of the same job, asked for again after a refusal
                seen.clear()
                last = uids[-1]
            reading = _reading(item)
            if reading and reading.uid not in seen:
                seen.add(reading.uid)
                yield reading

    def _each(
        self, jobs: Iterable[Sequence[int]], send: Callable[[Sequence[int]], stream.Command[T]]
    ) -> Iterator[tuple[Sequence[int], T]]:
        """Yield what comes of each job (UIDs to ask for), always with the next one on its way."""
        refusals = count(1)
        ahead: deque[tuple[Sequence[int], stream.Command[T]]] = deque()
        try:
            for job in jobs:
                ahead.append((job, send(job)))
                if len(ahead) > 1:
                    yield from self._answered(*ahead[0], send, refusals)
                    ahead.popleft()
            while ahead:
                yield from self._answered(*ahead[0], send, refusals)
                ahead.popleft()
        finally:
            for _, command in ahead:
                command.forget()

    def _answered(
        self,
        job: Sequence[int],
        command: stream.Command[T],
        send: Callable[[Sequence[int]], stream.Command[T]],
        refusals: Iterator[int],
    ) -> Iterator[tuple[Sequence[int], T]]:
        """Yield what comes of one job; what is refused is asked for again in halves, and single messages are given up.

        Yahoo refuses some messages for ever, and with them each command that asks for them ([UNAVAILABLE]).
        """
        try:
            for item in self._answers(command):
                yield job, item
        except stream.Refused as exc:
            error = self._refusal("let mail be read", exc.reply)
            if exc.reply.status == "BAD" or isinstance(error, Throttled) or next(refusals) > MAX_REFUSALS:
                raise error from exc
            if len(job) == 1:
                log.warning("UID %d is left out: %s", job[0], error)
                return
            for half in (job[: len(job) // 2], job[len(job) // 2 :]):
                yield from self._answered(half, send(half), send, refusals)

    def _answers(self, command: stream.Command[T]) -> Iterator[T]:
        answers = self._pipe.answers(command)
        try:
            while True:
                with in_our_words(self._server):
                    item = next(answers, None)
                if item is None:
                    return
                yield item
        finally:
            answers.close()

    def _send(self, command: C, state: FolderState) -> C:
        self._opened(state.folder, state.uidvalidity)
        with in_our_words(self._server):
            self._pipe.send(command)
        return command

    def _opened(self, folder: str, uidvalidity: int, *, anew: bool = False) -> _Selected:
        """Have the folder selected; raise FolderRenumbered when its UIDs are others than they were."""
        selected = self._selected
        if anew or selected is None or selected.state.folder != folder:
            selected = self._select(folder)
        if selected is None or selected.state.uidvalidity != uidvalidity:
            now = f"now {selected.state.uidvalidity}" if selected else "now there is no such folder"
            raise FolderRenumbered(
                f"the server has numbered the messages of {folder!r} anew (UIDVALIDITY was {uidvalidity}, {now}); "
                "nothing was moved on the old numbers, the next run reads the folder again"
            )
        return selected

    def _select(self, folder: str) -> _Selected | None:
        name = self._names.to_server(folder)
        with in_our_words(self._server):
            self._pipe.drain()  # UIDs of the old folder are not to be taken for those of the new one
        self._selected = None  # RFC 3501, 6.3.1: nor is the old one any more, whatever the answer
        reply = self._ask(self._VERB + b" " + _encoded(name))[0]
        if reply.status != "OK":
            error = self._refusal(f"open the folder {folder!r}", reply)
            if isinstance(error, Unreachable) or not self._missing(name):
                raise error
            return None
        self._selected = self._described(folder, reply)
        return self._selected

    def _described(self, folder: str, reply: stream.Reply) -> _Selected:
        uidvalidity, exists = _fact(reply, b"UIDVALIDITY"), _exists(reply)
        if not uidvalidity:
            raise AccountError(
                f"{self._server.host} gives no UIDVALIDITY for {folder!r}: messages cannot be known again from one run "
                "to the next, so bouncefiler keeps away from this server"
            )
        uidnext = _fact(reply, b"UIDNEXT")
        if uidnext is None:
            uidnext = max(self._uids(b"UID FETCH * (UID)"), default=0) + 1 if exists else 1
        flags = _permanent_flags(reply)
        return _Selected(
            FolderState(folder, uidvalidity, uidnext, exists),
            sticky=not any(b"[UIDNOTSTICKY]" in line.upper() for line in reply.lines),
            writable=reply.code != "READ-ONLY",
            deletable=flags is None or b"\\DELETED" in flags.upper().split(),
        )

    def _uids(self, command: bytes) -> list[int]:
        """Return the UIDs that a FETCH (UID) brings."""
        with in_our_words(self._server):
            number = stream.Number(command)
            self._pipe.send(number)
        try:
            return list(self._answers(number))
        except stream.Refused as exc:
            raise self._refusal("number its messages", exc.reply) from exc

    def _missing(self, name: str) -> bool:
        flags = _flags_of(name, self._demand("list its folders", self._list(name)))
        return flags is None or bool(flags & _HOLDS_NOTHING)

    def _list(self, pattern: str) -> bytes:
        special = {"SPECIAL-USE", "LIST-EXTENDED"} <= self._capabilities  # RFC 6154, 2
        return b'LIST "" ' + _encoded(pattern) + (b" RETURN (SPECIAL-USE)" if special else b"")

    def _ask(self, *commands: bytes) -> tuple[stream.Reply, ...]:
        with in_our_words(self._server):
            return self._pipe.ask(*commands)

    def _demand(self, doing: str, command: bytes) -> stream.Reply:
        reply = self._ask(command)[0]
        if reply.status != "OK":
            raise self._refusal(doing, reply)
        return reply

    def _refusal(self, doing: str, reply: stream.Reply) -> AccountError:
        return refusal(self._server, doing, reply.text)


class ImapAccount(ImapReader):
    """An account whose mail is filed: see sweep.Mover. It never expunges but by UID, and never moves by APPEND."""

    _VERB = b"SELECT"

    def __init__(self, server: Server, client: _Client) -> None:
        super().__init__(server, client)
        self._targets: dict[str, FolderState] = {}

    @property
    def method(self) -> Method:
        """See sweep.Mover."""
        if "MOVE" in self._capabilities:  # RFC 6851
            return Method.MOVE
        if "UIDPLUS" in self._capabilities:  # RFC 4315
            return Method.COPY
        raise CannotMove(
            f"{self._server.host} has neither MOVE nor UIDPLUS: taking a message out of a folder would need a plain "
            "EXPUNGE, which also removes what you or another program has marked as deleted. bouncefiler files nothing "
            "here; `bouncefiler preview` shows what you could move by hand"
        )

    def prepare(self, folder: str) -> FolderState:
        """See sweep.Mover. Asked again, it answers from memory: its UIDNEXT is one that was, not always one that is."""
        if folder not in self._targets:
            self._targets[folder] = self._prepared(folder)
        return self._targets[folder]

    def move(self, batch: MoveBatch) -> Moved:
        """See sweep.Mover."""
        self._check_source(batch)
        command = b"UID %s %s %s" % (
            self.method.value.upper().encode(),
            uid_set(batch.uids).encode(),
            _encoded(self._names.to_server(batch.to)),
        )
        reply = self._ask(command)[0]
        if reply.code == "TRYCREATE":
            self._targets.pop(batch.to, None)
            self.prepare(batch.to)
            reply = self._ask(command)[0]
        if reply.status != "OK":
            self._targets.pop(batch.to, None)
            raise self._refusal(f"move mail from {batch.source!r} to {batch.to!r}", reply)
        moved = _copyuid(reply, batch.uids)
        known = self._targets.get(batch.to)
        if known and moved.uids and moved.to_uidvalidity != known.uidvalidity:
            del self._targets[batch.to]  # somebody has made it anew since we looked
        if self.method is Method.COPY and moved.uids:
            self._expunge(sorted(moved.uids))
        return moved

    def remove(self, refs: Sequence[MessageRef]) -> None:
        """See sweep.Mover."""
        for folder, uidvalidity in sorted({(ref.folder, ref.uidvalidity) for ref in refs}):
            self._check_writable(self._opened(folder, uidvalidity))
            uids = sorted({ref.uid for ref in refs if (ref.folder, ref.uidvalidity) == (folder, uidvalidity)})
            for start in range(0, len(uids), REMOVE_AT_ONCE):
                self._expunge(uids[start : start + REMOVE_AT_ONCE])

    def append(self, folder: str, message: bytes, flags: Sequence[str] = (), when: datetime | None = None) -> None:
        """Put a message of our own, an alert, into a folder. Raises OverQuota, FolderMissing, Unreachable."""
        name = imap_utf7.encode(self._names.to_server(folder))
        with in_our_words(self._server):
            self._pipe.drain()
            self._client.transport.untagged_responses.clear()
            try:
                self._client.append(name, message, flags, when)
            except imaplib.IMAP4.error as exc:
                self._pipe.broken = isinstance(exc, imaplib.IMAP4.abort)
                raise refusal(self._server, f"put a message into {folder!r}", said_in(exc)) from exc
            except BaseException:
                self._pipe.broken = True
                raise

    def _check_source(self, batch: MoveBatch) -> None:
        if self._names.to_server(batch.source) == self._names.to_server(batch.to):
            raise CannotMove(f"{batch.to!r} is the folder that is watched: set another `bounce_folder`")
        self._check_writable(self._opened(batch.source, batch.uidvalidity))

    def _check_writable(self, source: _Selected) -> None:
        if not source.writable or not source.deletable:
            raise CannotMove(
                f"{self._server.host} lets {source.state.folder!r} only be read by {plain(self._server.user)}: ask the "
                "owner of the folder for the right to delete in it, or take it out of `folders`"
            )
        if not source.sticky:
            raise CannotMove(
                f"{self._server.host} does not keep the UIDs of {source.state.folder!r} (UIDNOTSTICKY): no move from "
                "there could be settled after an interruption; take it out of `folders`"
            )

    def _prepared(self, folder: str) -> FolderState:
        name = self._names.to_server(folder)
        if name == "INBOX":
            raise CannotMove("mail is never filed in INBOX: set another `bounce_folder`")
        status = b"STATUS %s (UIDVALIDITY UIDNEXT MESSAGES)" % _encoded(name)
        listed, answer = self._ask(self._list(name), status)
        flags = _flags_of(name, listed)
        self._check_purpose(folder, flags or frozenset())
        if answer.status != "OK":
            error = self._refusal(f"describe the folder {folder!r}", answer)
            if isinstance(error, Unreachable) or (flags is not None and not flags & _HOLDS_NOTHING):
                raise error
            self._create(folder, name, flags)
            answer = self._ask(b"SUBSCRIBE " + _encoded(name), status)[-1]
        uidvalidity = _fact(answer, b"UIDVALIDITY")
        if answer.status != "OK" or not uidvalidity:
            raise self._refusal(f"describe the folder {folder!r}", answer)
        state = FolderState(folder, uidvalidity, _fact(answer, b"UIDNEXT") or 1, _fact(answer, b"MESSAGES") or 0)
        self._check_alias(state)
        return state

    def _check_purpose(self, folder: str, flags: frozenset[str]) -> None:
        """Servers empty these folders by themselves (RFC 6154); where they do not say which, go by the usual names."""
        last = folder.replace(".", "/").rpartition("/")[2].casefold()
        told = "SPECIAL-USE" in self._capabilities
        if flags & {"\\trash", "\\junk"} or (not told and last in _EMPTIED):
            raise CannotMove(
                f"{folder!r} is a folder for rubbish, which the provider empties by itself: set another `bounce_folder`"
            )

    def _create(self, folder: str, name: str, flags: frozenset[str] | None) -> None:
        reply = self._ask(b"CREATE " + _encoded(name))[0]
        if reply.status == "OK" or reply.code == "ALREADYEXISTS":
            return
        if flags is not None:
            raise CannotMove(f"{folder!r} can hold no mail, only other folders: set another `bounce_folder`")
        error = self._refusal(f"make the folder {folder!r}", reply)
        if isinstance(error, Unreachable | OverQuota) and reply.code != "LIMIT":  # LIMIT: GMX allows twenty folders
            raise error
        raise FolderMissing(
            f"there is no folder {folder!r}, and {self._server.host} refuses to make it: “{plain(reply.text)}”; make "
            "it with your mail program, or set another `bounce_folder`"
        )

    def _check_alias(self, target: FolderState) -> None:
        """Refuse one folder under two names: mail would be moved from it to itself, again and again."""
        source = self._selected.state if self._selected else None
        if source and source.exists and replace(source, folder=target.folder) == target:
            raise CannotMove(
                f"{target.folder!r} seems to be {source.folder!r} by another name: set another `bounce_folder`"
            )

    def _expunge(self, uids: Sequence[int]) -> None:
        """Remove these messages and no others (RFC 4315, 2.1)."""
        if "UIDPLUS" not in self._capabilities:
            raise CannotMove(f"{self._server.host} has no UIDPLUS: copied originals cannot be removed one by one")
        which = uid_set(uids).encode()
        replies = self._ask(b"UID STORE %s +FLAGS.SILENT (\\Deleted)" % which, b"UID EXPUNGE " + which)
        for reply in replies:
            if not reply.complete:
                raise self._refusal("remove the originals of copied messages", reply)


_HOLDS_NOTHING = frozenset({"\\nonexistent", "\\noselect"})

_EMPTIED = frozenset(
    {
        *(
            "trash",
            "deleted",
            "deleted items",
            "deleted messages",
            "junk",
            "junk email",
            "junk e-mail",
            "spam",
            "bulk mail",
        ),
        *("lixeira", "itens excluídos", "lixo eletrônico", "papelera", "elementos eliminados", "correo no deseado"),
        *("papierkorb", "gelöschte elemente", "spamverdacht", "corbeille", "courrier indésirable", "cestino"),
    }
)


def _fetch(uids: Sequence[int], items: bytes) -> bytes:
    which = f"{uids[0]}:{uids[-1]}" if isinstance(uids, range) else uid_set(uids)
    return b"UID FETCH %s (%s)" % (which.encode(), items)


def _reading(item: stream.Fetched) -> Reading | None:
    if item.uid is None or item.body is None:
        return None
    deleted = any(flag.upper() == b"\\DELETED" for flag in item.flags or ())
    size = len(item.body) if item.size is None else item.size
    return Reading(item.uid, item.received_at or _LONG_AGO, size, deleted, item.body)


def _fact(reply: stream.Reply, name: bytes) -> int | None:
    """Find a number in STATUS responses and in response codes: "UIDNEXT 5"."""
    found = [
        match
        for line in reply.lines
        if line[:9].upper() == b"* STATUS " or line[:6].upper() == b"* OK ["
        for match in re.findall(rb"[\[( ]%s (\d{1,10})[\]) ]" % name, line.upper())
    ]
    return int(found[-1]) if found else None


def _exists(reply: stream.Reply) -> int:
    found = [match[1] for line in reply.lines if (match := re.match(rb"(?i)\* (\d{1,10}) EXISTS", line))]
    return int(found[-1]) if found else 0


def _permanent_flags(reply: stream.Reply) -> bytes | None:
    found = [m[1] for line in reply.lines if (m := re.match(rb"(?i)\* OK \[PERMANENTFLAGS \(([^)]*)\)", line))]
    return found[-1] if found else None


def _flags_of(name: str, listing: stream.Reply) -> frozenset[str] | None:
    """Return a folder's flags in lower case; None when it is not listed."""
    found = [flags for listed, flags in _listed(listing.lines) if listed == name]
    return frozenset(flag.lower() for flags in found for flag in flags) if found else None


def _copyuid(reply: stream.Reply, asked: Sequence[int]) -> Moved:
    """Read COPYUID (RFC 4315, 3), which comes in an untagged OK for MOVE (RFC 6851, 4.3), tagged for COPY.

    Believed only when it makes sense: some servers say UIDVALIDITY 0, others name messages that nobody asked for.
    """
    uids: dict[int, int] = {}
    uidvalidity = 0
    for text in (*(line.decode("ascii", "replace") for line in reply.lines), f"* OK {reply.text}"):
        found = re.match(r"(?i)\* OK \[COPYUID (\d{1,10}) ([\d:,]+) ([\d:,]+)\]", text)
        if not found:
            continue
        source, target = _expanded(found[2], len(asked)), _expanded(found[3], len(asked))
        if not source or len(source) != len(target) or uidvalidity not in {0, int(found[1])}:
            return Moved()
        uidvalidity = int(found[1])
        uids.update(zip(source, target, strict=True))
    honest = uidvalidity and uids.keys() <= set(asked) and len(set(uids.values())) == len(uids)
    return Moved(uidvalidity, uids) if honest else Moved()


def _expanded(text: str, most: int) -> list[int]:
    """Expand a UID set; empty when it is none, or has more than `most` members."""
    uids: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        if not first or (":" in part and not last):
            return []
        low, high = int(first), int(last or first)
        if not 0 < low <= high or high - low >= most - len(uids):
            return []
        uids.extend(range(low, high + 1))
    return uids
