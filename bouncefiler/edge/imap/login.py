"""A connection to the server, protected and logged in. imapclient and imaplib are known here."""

from __future__ import annotations

import imaplib
import ipaddress
import re
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

from imapclient import IMAPClient

from bouncefiler.edge.imap import tls
from bouncefiler.edge.imap.bearer import bearer
from bouncefiler.edge.imap.names import quoted
from bouncefiler.edge.imap.trouble import FOREIGN, in_our_words, login_refusal, plain, said_in, token_refusal
from bouncefiler.edge.imap.wire import Wire
from bouncefiler.errors import AccountError, LoginRefused, TokenRefused, Unreachable, Untrusted
from bouncefiler.settings import Security, Server

_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 20, "TCP_KEEPCNT": 3}

Dial = Callable[[Server], socket.socket]


def dial_server(server: Server) -> socket.socket:
    """Open a connection whose death is noticed: TCP keepalive, no Nagle. Raises OSError."""
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
                line += b" " + quoted(octets)
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

    @property
    def near(self) -> bool:
        """Whether the server is on this machine, or something that stands for it."""
        address = self.sock.getpeername()
        return isinstance(address, tuple) and _is_loopback(str(address[0]))

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
        self.wire = Wire(sock, self._server.timeout)

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


class Client(IMAPClient):  # type: ignore[misc]
    """imapclient over our transport. Its own debug log would show literals, so imaplib's is switched off."""

    def __init__(self, transport: _Transport, server: Server) -> None:
        self.transport = transport
        super().__init__(server.host, server.port, ssl=False, timeout=server.timeout)
        transport.debug = 0
        self.folder_encode = False

    def _create_IMAP4(self) -> _Transport:  # noqa: N802 - imapclient's name
        return self.transport


def log_in(server: Server, password: str, dial: Dial) -> Client:
    """Connect, protect the connection as configured, and log in. Raises as `open_reader`."""
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


def _connect(server: Server, dial: Dial) -> Client:
    try:
        return _secured(server, dial, partial(tls.secure, server=server))
    except ssl.SSLCertVerificationError as exc:
        raise tls.fault(server, exc, _fingerprint_seen(server, dial)) from exc


def _secured(server: Server, dial: Dial, secure: Callable[[socket.socket], socket.socket]) -> Client:
    transport = _Transport(server, dial, secure)
    try:
        transport.ready_for_login()
        return Client(transport, server)
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


def _authenticate(client: Client, server: Server, secret: str) -> None:
    say, refused = (_by_token if server.oauth else _by_password)(client, server, secret)
    try:
        say()
    except imaplib.IMAP4.error as exc:
        if isinstance(exc.__context__, imaplib.IMAP4.abort):  # imapclient calls it a refusal; it was a BYE
            raise exc.__context__ from None
        raise refused(said_in(exc)) from exc
    client.transport.refresh_capabilities()


_Way = tuple[Callable[[], object], Callable[[str], AccountError]]
"""How to say who we are, and what to make of the server's words if it refuses."""


def _by_token(client: Client, server: Server, token: str) -> _Way:
    offered = set(client.transport.capabilities)
    said = bearer(server, token, offered) if _can_be_sent(server.user) else None
    if said is None:
        raise TokenRefused(
            f"{server.host} takes no access tokens; the ways to log in that it offers are: {_ways(offered)}; "
            "take `password_from` instead of `token_from`"
        )
    return partial(client.sasl_login, said.mechanism, said), lambda words: token_refusal(server, words, said.why)


def _by_password(client: Client, server: Server, password: str) -> _Way:
    offered = set(client.transport.capabilities)
    if "LOGINDISABLED" in offered and "AUTH=PLAIN" not in offered:
        raise _no_password_wanted(server, offered)
    if not (_can_be_sent(password) and _can_be_sent(server.user)):
        raise LoginRefused(f"the user name or the password for {server.host} has a NUL in it, or is not UTF-8")
    # RFC 4616 has UTF-8 in it; RFC 3501's LOGIN knows only ASCII, and servers differ in what they make of more.
    log_in_with = client.plain_login if "AUTH=PLAIN" in offered else client.login
    return partial(log_in_with, server.user, password), partial(login_refusal, server)


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
    return LoginRefused(f"{server.host} takes no passwords; the ways to log in that it offers are: {_ways(offered)}")


def _ways(offered: set[str]) -> str:
    return plain(", ".join(sorted(way.removeprefix("AUTH=") for way in offered if way.startswith("AUTH="))) or "none")


def _no_starttls(server: Server, does: str) -> str:
    return (
        f'`security = "starttls"`, but {server.host}:{server.port} {does}; no password was sent. '
        'Set `security = "tls"` and port 993, if the server has that'
    )
