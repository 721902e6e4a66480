"""What only a real server, or one that plays a part, can show of the account over IMAP."""

from __future__ import annotations

import logging
import re
import socket
import ssl
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imapclient import imap_utf7

from bouncefiler.edge import imap
from bouncefiler.edge.imap import FolderInfo, Names
from bouncefiler.edge.imap.commands import Fetch
from bouncefiler.edge.imap.fetched import Fetched
from bouncefiler.edge.imap.reader import compressing
from bouncefiler.edge.imap.wire import Wire
from bouncefiler.errors import (
    AccountError,
    CannotMove,
    FolderMissing,
    LoginRefused,
    OverQuota,
    Throttled,
    Unreachable,
    Untrusted,
)
from bouncefiler.filing.plan import MessageRef, Method, MoveBatch
from bouncefiler.recognition.identity import MAX_HEADER_OCTETS, fingerprint_of, header_block
from bouncefiler.settings import Compress, Security, Server
from bouncefiler.sweep import FolderState, Moved, Span, one_by_one
from tests.dovecot import PASSWORD, Dovecot, Mail, Mailbox, Variant, make_certificate
from tests.edge.test_account_contract import EVERY, batch_of, mail, opened
from tests.scripted import GREETING, SELECTED, Answer, Part, Scripted, playing

Dovecots = Callable[[Variant], Dovecot]

PLAIN = Variant()


@pytest.fixture
def dovecot(dovecots: Dovecots) -> Dovecot:
    return dovecots(PLAIN)


class Recorder:
    """A socket that notes what goes over it; `turns` counts how often the other side was waited for."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.sent: list[bytes] = []
        self.received = 0
        self.turns = 0
        self._sending = False

    def sendall(self, data: bytes) -> None:
        self.sent.append(data)
        self._sending = True
        self._sock.sendall(data)

    def recv_into(self, buffer: bytearray) -> int:
        self.turns += self._sending
        self._sending = False
        octets = self._sock.recv_into(buffer)
        self.received += octets
        return octets

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)

    def commands(self) -> list[str]:
        lines = b"".join(self.sent).decode("utf-8", "replace").splitlines()
        return [line.partition(" ")[2] for line in lines]


class Line:
    """Dials, and keeps the last connection at hand."""

    def __init__(self, kind: type[Recorder] = Recorder) -> None:
        self._kind = kind
        self.recorder: Recorder | None = None

    def __call__(self, server: Server) -> socket.socket:
        self.recorder = self._kind(socket.create_connection((server.host, server.port)))
        return self.recorder  # type: ignore[return-value]

    @property
    def now(self) -> Recorder:
        assert self.recorder
        return self.recorder


def nobody(_server: Server) -> socket.socket:
    raise AssertionError("nobody should have been called")


def someone(dovecot: Dovecot, *mails: Mail) -> tuple[Server, Mailbox]:
    """A new user with these messages in the INBOX."""
    user = dovecot.new_user()
    mailbox = dovecot.mailbox(user)
    mailbox.store(mails)
    return dovecot.server(user), mailbox


@contextmanager
def account_on(part: Part) -> Iterator[tuple[imap.ImapAccount, Scripted]]:
    with playing(part) as scripted, imap.open_account(scripted.server(), "secret") as account:
        yield account, scripted


# ── logging in ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.dovecot
@pytest.mark.parametrize("security", list(Security))
def test_every_way_in_leads_in(dovecot: Dovecot, security: Security) -> None:
    """TLS, STARTTLS, and in clear on this machine."""
    user = dovecot.new_user()

    with imap.open_reader(dovecot.server(user, security), PASSWORD) as reader:
        assert opened(reader).exists == 0  # type: ignore[arg-type]


@pytest.mark.dovecot
def test_the_inbox_is_opened_with_the_first_question(dovecot: Dovecot) -> None:
    """If it is known to come first; once, and not when another folder was opened since."""
    server, _ = someone(dovecot, mail(1), mail(2))
    for first, other, turns in (("inbox", "", 0), ("", "", 1), ("Lists", "", 1), ("INBOX", "Sent", 1)):
        line = Line()
        with imap.open_account(server, PASSWORD, line, first=first) as account:
            if other:
                assert account.look_at(other) is None
            before = line.now.turns
            assert opened(account).exists == 2
            assert line.now.turns == before + turns
            assert opened(account).exists == 2
            assert line.now.turns == before + turns + 1


def test_an_inbox_that_is_refused_at_first_is_asked_for_again() -> None:
    """What is in the way is then said as ever."""
    answers = iter(["TAG NO [SERVERBUG] not now", "TAG NO [SERVERBUG] not now either"])
    part = Part({"SELECT": lambda _: next(answers)})
    with (
        playing(part) as scripted,
        imap.open_account(scripted.server(), "secret", first="INBOX") as account,
        pytest.raises(AccountError, match="not now either"),
    ):
        account.state("INBOX")


class WithoutPlain(Recorder):
    """Makes the client believe that the server has no AUTHENTICATE PLAIN."""

    def recv_into(self, buffer: bytearray) -> int:
        octets = super().recv_into(buffer)
        buffer[:octets] = bytes(buffer[:octets]).replace(b"AUTH=PLAIN", b"AUTH=OTHER")
        return octets


@pytest.mark.dovecot
@pytest.mark.parametrize("recorder", [Recorder, WithoutPlain], ids=["AUTHENTICATE", "LOGIN"])
@pytest.mark.parametrize("password", ['quo"te\\back slash', "pässwörd €", " "])
def test_a_password_may_have_any_characters(dovecots: Dovecots, recorder: type[Recorder], password: str) -> None:
    """Whether it goes by AUTHENTICATE PLAIN or by LOGIN."""
    dovecot = dovecots(Variant(password=password))
    line = Line(recorder)

    with imap.open_reader(dovecot.server("ann"), password, line) as reader:
        assert reader.state("INBOX")

    assert line.now.commands()[0].startswith("LOGIN") == (recorder is WithoutPlain)


@pytest.mark.parametrize("literals", ["", " LITERAL+", " LITERAL-"])
@pytest.mark.parametrize(("user", "password"), [("ann", "pässword"), ("änn", "secret"), ("änn", "pässword")])
def test_login_sends_what_is_not_ascii_as_literals(literals: str, user: str, password: str) -> None:
    """Quoted strings are for ASCII (RFC 3501, 4.3)."""
    with playing(Part(capabilities=f"IMAP4rev1{literals}")) as scripted:
        imap.open_reader(scripted.server(user=user), password).close()

    assert re.sub(r'["{}\d+]', "", "".join(c for c in scripted.commands() if c.startswith("LOGIN"))).split() in (
        ["LOGIN", user, password],
        ["LOGIN", user + password],
    )


def test_one_turn_is_enough_to_authenticate() -> None:
    """With SASL-IR (RFC 4959) the password goes along; without it the server asks first."""
    challenged: dict[str, Answer] = {"AUTHENTICATE PLAIN$": "+"}
    for capabilities, expected in (
        ("IMAP4rev1 AUTH=PLAIN SASL-IR", ["AUTHENTICATE PLAIN AGFubgBzZWNyZXQ="]),
        ("IMAP4rev1 AUTH=PLAIN", ["AUTHENTICATE PLAIN", "AGFubgBzZWNyZXQ="]),
    ):
        with playing(Part(challenged, capabilities=capabilities)) as scripted:
            imap.open_reader(scripted.server(), "secret").close()
        assert [c for c in scripted.commands() if "CAPABILITY" not in c][: len(expected)] == expected


@pytest.mark.parametrize("password", ["a\0b", "caf\udce9"])
def test_a_password_that_cannot_be_sent_is_not_tried(password: str) -> None:
    """Nor shown."""
    with playing() as scripted, pytest.raises(LoginRefused, match="UTF-8") as refused:
        imap.open_reader(scripted.server(), password)

    assert scripted.commands() == ["CAPABILITY"]
    assert password not in "".join(traceback.format_exception(refused.value))


@pytest.mark.dovecot
def test_a_wrong_password_is_refused(dovecot: Dovecot, caplog: pytest.LogCaptureFixture) -> None:
    """With the server's words and the next step, and without the password anywhere."""
    caplog.set_level(logging.DEBUG)
    wrong = "s3cr3t-w0rd"

    with pytest.raises(LoginRefused, match="bouncefiler login") as refused:
        imap.open_reader(dovecot.server("ann"), wrong)

    told = "".join(traceback.format_exception(refused.value)) + caplog.text
    assert "Authentication failed" in str(refused.value)
    assert wrong not in told
    assert "AGFubgBz" not in told  # base64


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ("NO [AUTHENTICATIONFAILED] nope", LoginRefused, "bouncefiler login"),
        ("NO invalid credentials", LoginRefused, "invalid credentials"),
        ("BAD invalid command", LoginRefused, "invalid command"),
        ("NO [AUTHORIZATIONFAILED] not you", LoginRefused, "`user`"),
        ("NO [EXPIRED] change it", LoginRefused, "new password"),
        ("NO Basic authentication is disabled.", LoginRefused, "OAuth 2"),
        ("NO [ALERT] Application-specific password required: https://x.example", LoginRefused, "app password"),
        ("BAD User is authenticated but not connected.", LoginRefused, "licence"),
        ("NO [UNAVAILABLE] later", Unreachable, "later"),
        ("NO [INUSE] busy", Unreachable, "busy"),
        ("NO [LIMIT] too many", Unreachable, "too many"),
        ("NO [ALERT] Too many simultaneous connections. (Failure)", Unreachable, "other mail programs"),
        ("NO [THROTTLED] slowly", Throttled, "slowly"),
        ("NO Request is throttled. Suggested Backoff Time: 92415 milliseconds", Throttled, "92415"),
        ("NO [PRIVACYREQUIRED] no", Untrusted, "tls"),
    ],
)
def test_a_refused_login_says_what_it_means(said: str, error: type[AccountError], words: str) -> None:
    """Whoever has to wait is told to wait, whoever has to do something is told what."""
    with playing(Part({"LOGIN": f"TAG {said}"})) as scripted, pytest.raises(AccountError) as refused:
        imap.open_reader(scripted.server(), "secret")

    assert type(refused.value) is error
    assert words in str(refused.value)
    assert "127.0.0.1" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("said", "seconds"), [("Suggested Backoff Time: 92415 milliseconds", 92.415), ("", 0.0)])
def test_a_pause_is_as_long_as_the_server_says(said: str, seconds: float) -> None:
    """Microsoft 365 gives it in milliseconds, in a NO or in a BYE."""
    for answer in (f"TAG NO [THROTTLED] Request is throttled. {said}", f"* BYE Request is throttled. {said}"):
        with playing(Part({"LOGIN": answer})) as scripted, pytest.raises(Throttled) as throttled:
            imap.open_reader(scripted.server(), "secret")

        assert throttled.value.retry_after == seconds


@pytest.mark.parametrize(
    ("part", "error", "words"),
    [
        (Part(greeting="* BYE [UNAVAILABLE] down for repairs"), Unreachable, "down for repairs"),
        (Part({"LOGIN": "* BYE shutting down"}), Unreachable, "shutting down"),
        (Part({"LOGIN": None}), Unreachable, "ended the connection"),
        (Part(greeting=None), Unreachable, "ended the connection"),
        (Part(greeting="220 mail.example ESMTP"), AccountError, "does not speak"),
        (Part(greeting="* OK {99999999999}\r\n"), AccountError, "does not speak"),
        (Part(greeting=""), Unreachable, "in time"),
        (Part({"CAPABILITY": "* CAPABILITY {17179869184}\r\n"}), AccountError, "does not speak"),
        (Part({"LOGIN": "TAG NO \x1b[31mred\u202e " + "x" * 5_000}), LoginRefused, "red"),
    ],
    ids=lambda value: None if isinstance(value, Part) else str(value)[:30],
)
def test_a_bad_start_is_put_in_words(part: Part, error: type[AccountError], words: str) -> None:
    """In one plain, short line, whatever the server says."""
    with playing(part) as scripted, pytest.raises(AccountError) as raised:
        imap.open_reader(scripted.server(timeout=0.3), "secret")

    message = str(raised.value)
    assert type(raised.value) is error
    assert words in message
    assert message.isprintable()
    assert len(message) < 600


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (UnicodeError("label too long"), "is no host name"),
        (ConnectionRefusedError(111, "Connection refused"), "`port`"),
        (OSError(113, "No route to host"), "No route to host"),
        (OSError(101, "Network is unreachable"), "Network is unreachable"),
        (TimeoutError("timed out"), "in time"),
        (ConnectionResetError(104, "Connection reset by peer"), "ended the connection"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_a_server_out_of_reach_is_named(cause: Exception, words: str) -> None:
    """With what is wrong and where to look."""

    def dial(_server: Server) -> socket.socket:
        raise cause

    with pytest.raises(Unreachable, match=re.escape(words)) as raised:
        imap.open_reader(Server("mail.example", 993, "ann"), "secret", dial)

    assert "mail.example" in str(raised.value)


def test_nobody_listening_is_unreachable() -> None:
    """As the operating system says it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(Unreachable, match=f"nothing listens at 127.0.0.1:{port}"):
        imap.open_reader(Server("127.0.0.1", port, "ann", Security.PLAIN), "secret")


# ── whom we trust ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_password_goes_over_an_open_network() -> None:
    """`plain` is for this machine only, whatever the configuration let through."""
    with pytest.raises(Untrusted, match="not this machine"):
        imap.open_reader(Server("mail.example", 143, "ann", Security.PLAIN), "secret", nobody)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("certificates")
    make_certificate(place / "good.pem", place / "good.key")
    make_certificate(place / "expired.pem", place / "expired.key", expired=True)
    make_certificate(place / "other.pem", place / "other.key", name="other.example")
    return place


def tls_part(certificates: Path, name: str, capabilities: str = "IMAP4rev1") -> Part:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    return Part(capabilities=capabilities, context=context)


@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
@pytest.mark.parametrize(
    ("name", "ca_file", "reason"),
    [("good", None, "signed by nobody"), ("expired", "expired", "expired"), ("other", "other", "another")],
)
def test_a_certificate_that_does_not_pass_ends_it(
    certificates: Path, security: Security, name: str, ca_file: str | None, reason: str
) -> None:
    """The reason and both ways out are named, and not one octet of the password has been sent."""
    capabilities = "IMAP4rev1 STARTTLS" if security is Security.STARTTLS else "IMAP4rev1"
    trusted = certificates / f"{ca_file}.pem" if ca_file else None
    with playing(tls_part(certificates, name, capabilities)) as scripted:
        with pytest.raises(Untrusted, match=reason) as untrusted:
            imap.open_reader(scripted.server(security, ca_file=trusted), "secret")

        assert "`ca_file`" in str(untrusted.value)
        seen = re.search(r"`fingerprint` to ([0-9a-f]{64})", str(untrusted.value))
        assert seen
        assert {command.split()[0] for command in scripted.commands()} <= {"CAPABILITY", "STARTTLS"}
        imap.open_reader(scripted.server(security, fingerprint=seen[1]), "secret").close()


def test_another_certificate_than_the_pinned_one_ends_it(certificates: Path) -> None:
    """Even one that an authority vouches for."""
    with playing(tls_part(certificates, "good")) as scripted:
        server = scripted.server(Security.TLS, ca_file=certificates / "good.pem", fingerprint="0" * 64)
        with pytest.raises(Untrusted, match="pinned"):
            imap.open_reader(server, "secret")

    assert scripted.heard == []


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (Part(), "does not offer"),
        (Part({"STARTTLS": "TAG NO not now"}, capabilities="IMAP4rev1 STARTTLS"), "refuses"),
        (Part({"STARTTLS": "TAG BAD what"}, capabilities="IMAP4rev1 STARTTLS"), "refuses"),
        (Part({"STARTTLS": "TAG OK go\r\n* CAPABILITY IMAP4rev1"}, capabilities="IMAP4rev1 STARTTLS"), "in between"),
        (Part(greeting="* PREAUTH welcome"), "already"),
        (Part(greeting="* OK [CAPABILITY IMAP4rev1] hi"), "does not offer"),
    ],
)
def test_starttls_is_not_to_be_talked_out_of(part: Part, reason: str) -> None:
    """Stripped, refused, skipped or with something slipped in before it: no password is sent."""
    with playing(part) as scripted, pytest.raises(Untrusted, match=reason):
        imap.open_reader(scripted.server(Security.STARTTLS), "secret")

    assert {command.split()[0] for command in scripted.commands()} <= {"CAPABILITY", "STARTTLS"}


def test_what_was_said_before_tls_is_forgotten(certificates: Path) -> None:
    """Capabilities are asked for anew (RFC 3501, 6.2.1)."""
    part = tls_part(certificates, "good", "IMAP4rev1 STARTTLS")
    part.greeting = "* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] hi"
    with playing(part) as scripted:
        imap.open_reader(scripted.server(Security.STARTTLS, ca_file=certificates / "good.pem"), "secret").close()

    assert scripted.commands()[:3] == ["STARTTLS", "CAPABILITY", 'LOGIN "ann" "secret"']


def test_a_server_that_speaks_no_tls_is_named() -> None:
    """With the setting that may be the right one."""
    with playing() as scripted, pytest.raises(Untrusted, match="starttls"):
        imap.open_reader(scripted.server(Security.TLS), "secret")


def test_a_ca_file_that_is_none_is_named(tmp_path: Path) -> None:
    """Before anything is sent."""
    (tmp_path / "empty.pem").touch()
    for path in (tmp_path / "missing.pem", tmp_path / "empty.pem"):
        with playing() as scripted, pytest.raises(Untrusted, match=path.name):
            imap.open_reader(scripted.server(Security.TLS, ca_file=path), "secret")


def test_login_disabled_is_obeyed() -> None:
    """The server does not want to hear the password over this connection."""
    with playing(Part(capabilities="IMAP4rev1 LOGINDISABLED")) as scripted, pytest.raises(Untrusted, match="tls"):
        imap.open_reader(scripted.server(), "secret")

    assert scripted.commands() == ["CAPABILITY"]


def test_a_server_that_takes_no_passwords_says_what_it_takes(certificates: Path) -> None:
    """TLS would not help there."""
    part = tls_part(certificates, "good", "IMAP4rev1 LOGINDISABLED AUTH=XOAUTH2")
    with playing(part) as scripted, pytest.raises(LoginRefused, match="XOAUTH2"):
        imap.open_reader(scripted.server(Security.TLS, ca_file=certificates / "good.pem"), "secret")


# ── after the login ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_program_says_who_it_is_before_it_opens_a_folder() -> None:
    """163.com lets nobody in otherwise; name and version, nothing about the user."""
    with account_on(Part(capabilities="IMAP4rev1 ID NAMESPACE")) as (account, scripted):
        account.state("INBOX")

    commands = scripted.commands()
    assert commands.index(next(c for c in commands if c.startswith("ID "))) < commands.index('SELECT "INBOX"')
    assert re.fullmatch(
        r'ID \("name" "bouncefiler" "version" "[^"]+"\)', next(c for c in commands if c.startswith("ID"))
    )


def test_what_the_server_can_do_is_asked_after_login() -> None:
    """Many servers tell everything only then (RFC 3501, 6.2.3)."""
    part = Part({"LOGIN": "TAG OK [CAPABILITY IMAP4rev1 Move uidplus] in"}, GREETING, "IMAP4rev1")
    with account_on(part) as (account, _):
        assert account.method is Method.MOVE


def test_a_dead_connection_can_be_closed() -> None:
    """Closing never raises, and can be done twice."""
    with account_on(Part({"SELECT": None})) as (account, _):
        with pytest.raises(Unreachable):
            account.state("INBOX")
        with pytest.raises(Unreachable):
            account.noop()
        account.close()
        account.close()


def test_leaving_expunges_nothing() -> None:
    """UNSELECT where there is one, and never CLOSE, which expunges (RFC 3501, 6.4.2)."""
    for capabilities, expected in (("IMAP4rev1 UNSELECT", ["UNSELECT", "LOGOUT"]), ("IMAP4rev1", ["LOGOUT"])):
        with account_on(Part(capabilities=capabilities)) as (account, scripted):
            account.state("INBOX")
        assert scripted.commands()[-len(expected) :] == expected
        assert "CLOSE" not in scripted.commands()


# ── names and folders ────────────────────────────────────────────────────────────────────────────────────────────────

CYRUS = Names("INBOX.", ".", ("user.", "shared."))
SLASH = Names("", "/", ("Public/",))
DOT = Names("", ".")
FLAT = Names("", "")


@pytest.mark.parametrize(
    ("names", "user", "server"),
    [
        (CYRUS, "Bounces/Full", "INBOX.Bounces.Full"),
        (CYRUS, "Bounces.Full", "INBOX.Bounces.Full"),
        (CYRUS, "INBOX.Bounces", "INBOX.Bounces"),
        (CYRUS, "INBOX/Bounces", "INBOX.Bounces"),
        (CYRUS, "inbox/Bounces", "INBOX.Bounces"),
        (CYRUS, "inbox", "INBOX"),
        (CYRUS, "shared.Team", "shared.Team"),
        (CYRUS, "Inboxes", "INBOX.Inboxes"),
        (SLASH, "Bounces/Full", "Bounces/Full"),
        (SLASH, "Inbox", "INBOX"),
        (SLASH, "Inbox/Bounces", "INBOX/Bounces"),
        (SLASH, "Public/x", "Public/x"),
        (DOT, "Bounces/Full", "Bounces.Full"),
        (FLAT, "Bounces/Full", "Bounces/Full"),
    ],
)
def test_the_users_name_becomes_the_servers(names: Names, user: str, server: str) -> None:
    """Prefix and separator are the server's business; a name that is its own already is left alone."""
    assert names.to_server(user) == server


@given(
    st.sampled_from([CYRUS, SLASH, DOT, FLAT]),
    st.sampled_from(["", "INBOX.", "INBOX/", "shared.", "Public/"]),
    st.text("aé./I", min_size=1, max_size=8),
)
def test_a_listed_name_can_be_used(names: Names, start: str, rest: str) -> None:
    """Whatever `folders` shows leads back to the same folder."""
    name = start + rest
    if names.to_server(name) == name:  # otherwise it is no name of this server's
        assert names.to_server(names.to_user(name)) == name


@pytest.mark.dovecot
@pytest.mark.parametrize("variant", [PLAIN, Variant(prefix="INBOX.", separator=".")], ids=["plain", "prefix"])
def test_folders_are_listed_by_the_names_to_write(dovecots: Dovecots, variant: Variant) -> None:
    """In one way on all servers, INBOX first, with what they are for."""
    dovecot = dovecots(variant)
    server, mailbox = someone(dovecot)
    sep = variant.separator
    mailbox.create(*(f"{variant.prefix}{name}" for name in ("Trash", f"Bounces{sep}Full", 'Odd " name', "Caf&AOk-")))

    with imap.open_reader(server, PASSWORD) as reader:
        folders = reader.folders()
        assert [folder.name for folder in folders] == [
            "INBOX",
            "Bounces",
            "Bounces/Full",
            "Café",
            'Odd " name',
            "Trash",
        ]
        assert FolderInfo("Trash", ("\\Trash",)) in folders
        for name in ("Bounces/Full", "Café", 'Odd " name'):
            assert opened(reader, name).exists == 0  # type: ignore[arg-type]


def test_lists_are_read_however_they_are_written() -> None:
    """Quoted, bare or as literals, with or without separator, names that other clients left unencoded included."""
    listing = (
        '* LIST (\\HasNoChildren) "/" INBOX\r\n* LIST () NIL "a \\"b\\\\"\r\n* list () "/" {5}\r\nx"y)z\r\n'
        '* LIST (\\Noselect) "/" Gel&APY-scht\r\n* LIST () "/" "Ümläut"\r\nTAG OK done'
    )
    with account_on(Part({"LIST": listing})) as (account, _):
        assert [folder.name for folder in account.folders()] == ["INBOX", 'a "b\\', "Gelöscht", 'x"y)z', "Ümläut"]


def test_the_separator_is_found_without_namespace() -> None:
    """Servers without RFC 2342 tell it in LIST."""
    part = Part({'LIST "" ""': '* LIST (\\Noselect) "." ""\r\nTAG OK done'}, capabilities="IMAP4rev1")
    with account_on(part) as (account, scripted):
        account.state("Bounces/Full")

    assert 'SELECT "Bounces.Full"' in scripted.commands()


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ('(("" "/")) NIL NIL', Names("", "/")),
        ('(("INBOX." ".")) (("user." ".")) (("" "."))', Names("INBOX.", ".", ("user.",))),
        ('(("" "/") ("#mh/" "/")) NIL (("Public/" "/" "X" ("y")))', Names("", "/", ("#mh/", "Public/"))),
        ('(("" NIL)) NIL NIL', Names("", "")),
        ('(("Fun&AOk-/" "\\\\")) NIL NIL', Names("Funé/", "\\")),
        ('NIL NIL (("Public/" "/"))', Names("", "/", ("Public/",))),
        ("(((((((((((((((", Names()),
    ],
)
def test_namespaces_are_read(said: str, names: Names) -> None:
    """The first personal one is where the user's folders are (RFC 2342)."""
    part = Part({"NAMESPACE": f"* NAMESPACE {said}\r\nTAG OK done"}, capabilities="IMAP4rev1 NAMESPACE")
    with account_on(part) as (account, scripted):
        account.state("a/b")

    assert f'SELECT "{imap_utf7.encode(names.to_server("a/b")).decode()}"'.replace("\\", "\\\\") in scripted.commands()


@pytest.mark.dovecot
def test_a_made_folder_is_subscribed(dovecot: Dovecot) -> None:
    """Mail programs show the subscribed ones only."""
    server, mailbox = someone(dovecot)

    with imap.open_account(server, PASSWORD) as account:
        account.prepare("Bounces/Full")
        account.prepare("Bounces")

    assert set(mailbox.subscribed()) == {"Bounces", "Bounces/Full"}


@pytest.mark.dovecot
@pytest.mark.parametrize("name", ["Trash", "Quarantine", "inbox"])
def test_mail_is_not_filed_where_it_would_vanish(dovecot: Dovecot, name: str) -> None:
    r"""What the server calls \Trash or \Junk is emptied by itself, and INBOX is where mail comes from."""
    server, mailbox = someone(dovecot)
    mailbox.create("Trash", "Quarantine")

    with imap.open_account(server, PASSWORD) as account, pytest.raises(CannotMove, match="bounce_folder"):
        account.prepare(name)


@pytest.mark.parametrize("name", ["Trash", "Spam", "Mail/Lixo Eletrônico", "Deleted Items"])
def test_usual_names_count_where_the_server_says_nothing(name: str) -> None:
    """Microsoft 365 has no SPECIAL-USE, and empties Deleted Items all the same."""
    with account_on(Part()) as (account, _), pytest.raises(CannotMove, match="rubbish"):
        account.prepare(name)


@pytest.mark.dovecot
def test_a_new_target_costs_two_turns_and_tells_where_sent_mail_is(dovecot: Dovecot) -> None:
    """To subscribe it is in no hurry; and what is asked next is asked with it. Good once: folders come and go."""
    server, _ = someone(dovecot, mail(1))
    line = Line()
    with imap.open_account(server, PASSWORD, line) as account:
        state = opened(account)
        turns = line.now.turns
        account.prepare("Bounces")
        planned = batch_of(account, state, [1])
        assert line.now.turns == turns + 2
        assert account.move(planned).uids
        assert line.now.turns == turns + 3
        assert any(command.startswith("SUBSCRIBE") for command in line.now.commands())
        assert account.sent_folders() == ()
        assert line.now.turns == turns + 3
        assert account.sent_folders() == ()
        assert line.now.turns == turns + 4


@pytest.mark.dovecot
def test_an_expected_target_is_asked_about_while_mail_is_read(dovecot: Dovecot) -> None:
    """So it costs one turn less; not what was asked in an earlier sweep: it may have been made or removed since."""
    server, mailbox = someone(dovecot, mail(1))
    line = Line()
    with imap.open_account(server, PASSWORD, line) as account:
        state = opened(account)
        account.expect("Bounces")
        list(account.read(state, [1], 1_000))
        turns = line.now.turns
        assert account.prepare("Bounces").exists == 0
        assert line.now.turns == turns + 1

        account.expect("Other")
        list(account.read(state, [1], 1_000))
        mailbox.create("Other")
        opened(account)
        assert account.prepare("Other").exists == 0

    created = [command for command in line.now.commands() if command.startswith("CREATE")]
    assert created == ['CREATE "Bounces"']


@pytest.mark.parametrize(("capabilities", "ahead"), [("MOVE UIDPLUS", True), ("UIDPLUS", False)])
def test_a_target_of_copies_is_asked_about_when_it_is_used(*, capabilities: str, ahead: bool) -> None:
    """An older twin must not be taken for the copy."""
    with account_on(Part(capabilities=f"IMAP4rev1 {capabilities}")) as (account, scripted):
        state = opened(account)
        account.expect("Bounces")
        account.read(state, [1], 1_000)
        account.noop()  # by now the server has heard what came before

        assert any(command.startswith("STATUS") for command in scripted.commands()) == ahead


@pytest.mark.dovecot
def test_folders_that_were_listed_in_an_earlier_sweep_are_listed_again(dovecot: Dovecot) -> None:
    """A folder of sent mail that was made meanwhile is found."""
    server, mailbox = someone(dovecot, mail(1))
    with imap.open_account(server, PASSWORD) as account:
        account.prepare("Bounces")
        mailbox.create("Sent")
        opened(account)

        assert account.sent_folders() == ("Sent",)


def test_asking_for_the_same_target_again_costs_nothing() -> None:
    """Not one octet goes over the wire."""
    with account_on(Part()) as (account, scripted):
        first = account.prepare("Bounces")
        before = len(scripted.heard)

        assert account.prepare("Bounces") is first
        assert len(scripted.heard) == before


def test_a_target_that_was_made_anew_is_looked_at_again() -> None:
    """COPYUID tells that the folder is not the one that was described; the journal needs the new numbering."""
    with account_on(Part({"UID MOVE": "TAG OK [COPYUID 10 1 5] done"})) as (account, scripted):
        account.prepare("Bounces")
        account.move(batch(1))
        account.prepare("Bounces")

    assert len([command for command in scripted.commands() if command.startswith("STATUS")]) == 2


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ("NO [NOPERM] Permission denied", FolderMissing, "Permission denied"),
        ("NO [LIMIT] too many folders", FolderMissing, "too many folders"),
        ("NO [CANNOT] bad name", FolderMissing, "bad name"),
        ("NO [OVERQUOTA] full", OverQuota, "full"),
        ("NO [UNAVAILABLE] later", Unreachable, "later"),
    ],
)
def test_a_folder_that_cannot_be_made_is_named(said: str, error: type[AccountError], words: str) -> None:
    """In the server's words, with the next step; and nothing is subscribed that isn't there."""
    part = Part({"LIST": "TAG OK none", "STATUS": "TAG NO no such folder", "CREATE": f"TAG {said}"})
    with account_on(part) as (account, scripted), pytest.raises(AccountError, match=words) as raised:
        account.prepare("Bounces")

    assert type(raised.value) is error
    assert not [command for command in scripted.commands() if command.startswith("SUBSCRIBE")]


@pytest.mark.parametrize("said", ["OK made", "NO [ALREADYEXISTS] somebody was faster"])
def test_a_folder_that_holds_folders_only_is_made_to_hold_mail(said: str) -> None:
    r"""A \Noselect name can be created (RFC 3501, 6.3.3); where the server refuses, nothing is filed there."""
    noselect = '* LIST (\\Noselect) "/" "Bounces"\r\nTAG OK done'
    status = iter(["TAG NO cannot", "* STATUS Bounces (UIDVALIDITY 5 UIDNEXT 1 MESSAGES 0)\r\nTAG OK done"])
    with account_on(Part({"LIST": noselect, "STATUS": lambda _: next(status), "CREATE": f"TAG {said}"})) as (
        account,
        _,
    ):
        assert account.prepare("Bounces") == FolderState("Bounces", 5, 1, 0)

    refusing = Part({"LIST": noselect, "STATUS": "TAG NO cannot", "CREATE": "TAG NO no"})
    with account_on(refusing) as (account, _), pytest.raises(CannotMove, match="hold no mail"):
        account.prepare("Bounces")


def test_one_folder_under_two_names_is_noticed() -> None:
    """Mail would go round in circles (INBOX.X and X on some servers)."""
    status = "* STATUS x (UIDVALIDITY 7 UIDNEXT 4 MESSAGES 3)\r\nTAG OK done"
    with account_on(Part({"STATUS": status})) as (account, _):
        opened(account, "Watched")
        with pytest.raises(CannotMove, match="another name"):
            account.prepare("Bounces")


def test_a_folder_without_uidvalidity_is_left_alone() -> None:
    """No message could be known again."""
    for said in ("* 3 EXISTS\r\nTAG OK done", "* 3 EXISTS\r\n* OK [UIDVALIDITY 0]\r\nTAG OK done"):
        with account_on(Part({"SELECT": said})) as (account, _), pytest.raises(AccountError, match="UIDVALIDITY"):
            account.state("INBOX")


def test_a_missing_uidnext_is_found_out() -> None:
    """Old servers do not tell it."""
    part = Part(
        {"SELECT": "* 3 EXISTS\r\n* OK [UIDVALIDITY 7]\r\nTAG OK", r"UID FETCH \*": "* 3 FETCH (UID 41)\r\nTAG OK"}
    )
    with account_on(part) as (account, _):
        assert opened(account) == FolderState("INBOX", 7, 42, 3)


def test_a_folder_that_may_not_be_opened_is_not_missing() -> None:
    """The server's words say why."""
    part = Part({"SELECT": "TAG NO [NOPERM] not yours"})
    with account_on(part) as (account, _), pytest.raises(CannotMove, match="not yours"):
        account.state("INBOX")


@pytest.mark.parametrize("listed", ["NO [UNAVAILABLE] later", "OK nothing there"])
def test_a_server_in_trouble_is_not_an_account_without_folders(listed: str) -> None:
    """Nothing is made or given up because of a server that will be well again."""
    sick = Part({"LIST": f"TAG {listed}", "(SELECT|STATUS)": "TAG NO [UNAVAILABLE] later"})
    with account_on(sick) as (account, scripted):
        asks: list[Callable[[str], object]] = [account.state, account.prepare]
        for ask in asks:
            with pytest.raises(Unreachable, match="later"):
                ask("Bounces")

    assert not [command for command in scripted.commands() if command.startswith("CREATE")]


def test_a_target_that_may_not_be_described_is_not_made_again() -> None:
    """It is there, so the server's words are the news."""
    part = Part({"STATUS": "TAG NO [NOPERM] hands off"})
    with account_on(part) as (account, scripted), pytest.raises(CannotMove, match="hands off"):
        account.prepare("Bounces")

    assert not [command for command in scripted.commands() if command.startswith("CREATE")]


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.dovecot
def test_a_reader_sends_nothing_that_changes(dovecot: Dovecot) -> None:
    """EXAMINE, FETCH with PEEK, LIST: whoever gets a reader cannot do more, and it does no more by itself."""
    server, _ = someone(dovecot, *(mail(n) for n in range(1, 30)))
    line = Line()
    with imap.open_reader(server, PASSWORD, line) as reader:
        reader.window = 5
        state = reader.state("INBOX")
        assert state
        list(reader.scan(state, Span(), EVERY))
        list(reader.read(state, range(1, 30), 8_192))
        list(reader.headers(state, 1))
        reader.folders()
        reader.changed(state)
        reader.noop()

    harmless = r"AUTHENTICATE|ID|NAMESPACE|EXAMINE|LIST|STATUS|NOOP|UNSELECT|LOGOUT|(UID )?FETCH [\d,:]+ \((?!.*BODY\[)"
    assert [command for command in line.now.commands() if not re.match(harmless, command)] == []
    assert not any(hasattr(reader, name) for name in ("move", "remove", "prepare", "append"))


@pytest.mark.dovecot
def test_the_widest_range_of_uids_is_scanned(dovecot: Dovecot) -> None:
    """UIDs go up to 2^32 - 1; the number of commands goes by the messages."""
    uids = [1, 2, 3, 70_000, 2_000_000_000, 4_294_967_290]
    server, _ = someone(dovecot, *(mail(n, uid) for n, uid in enumerate(uids)))
    line = Line()
    with imap.open_account(server, PASSWORD, line) as account:
        account.window = 2
        windows = list(account.scan(opened(account), Span(), EVERY))

    assert [uid for window in windows for uid in window.suspects] == uids
    assert len([command for command in line.now.commands() if "HEADER.FIELDS" in command]) == 3


@pytest.mark.dovecot
def test_nothing_new_costs_no_fetch(dovecot: Dovecot) -> None:
    """Neither for an empty folder nor for one that was read to its end; a folder with gaps is read to UIDNEXT."""
    server, mailbox = someone(dovecot, mail(1), mail(2))
    mailbox.create("Empty")
    mailbox.expunge("INBOX", "1:2")
    line = Line()
    with imap.open_account(server, PASSWORD, line) as account:
        empty, gaps = opened(account, "Empty"), opened(account)
        assert list(account.scan(empty, Span(), EVERY)) == []
        assert list(account.scan(gaps, Span(first_uid=3), EVERY)) == []
        assert [w.last_uid for w in account.scan(gaps, Span(), EVERY)] == [2]

    assert not [command for command in line.now.commands() if "FETCH" in command]


@pytest.mark.dovecot
def test_commands_stay_short(dovecot: Dovecot) -> None:
    """Well below the 8,192 octets that RFC 7162 names, however many and scattered the UIDs are."""
    server, _ = someone(dovecot, mail(1))
    line = Line()
    with imap.open_account(server, PASSWORD, line) as account:
        state = opened(account)
        scattered = range(1_000_000_001, 1_000_010_001, 2)
        list(account.read(state, scattered, 10))
        account.remove([MessageRef("INBOX", state.uidvalidity, uid) for uid in scattered])

    assert max(len(command) for command in line.now.commands()) < 7_000


@pytest.mark.dovecot
def test_a_first_clean_takes_few_turns(dovecot: Dovecot) -> None:
    """Over a slow line each turn costs; the next window is always asked for before this one is worked on."""
    server, _ = someone(dovecot, *(mail(n) for n in range(1, 101)))
    line = Line()
    with imap.open_account(server, PASSWORD, line) as account:
        state = opened(account)
        for window in account.scan(state, Span(), one_by_one(lambda fields: b"number 7" in fields)):
            list(account.read(state, window.suspects, 8_192))
            account.move(batch_of(account, state, window.suspects))

    assert line.now.turns <= 10


@pytest.mark.dovecot
def test_a_move_need_not_wait_until_somebody_reads(dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that cannot get rid of one answer does not begin with the next command; and no turn is lost for that."""
    server, _ = someone(dovecot, *(mail(n) for n in range(1, 7)))
    taken: list[int] = []
    take = Fetch.take

    def noting(fetch: Fetch, wire: Wire, parts: list[bytes], item: Fetched | None) -> bool:
        taken.extend((item.uid,) if item and item.uid else ())
        return take(fetch, wire, parts, item)

    monkeypatch.setattr(Fetch, "take", noting)
    line = Line()
    with imap.open_account(server, PASSWORD, line) as account:
        state = opened(account)
        planned = batch_of(account, state, [1, 2])
        turns = line.now.turns
        ahead = account.read(state, [3, 4], 1_000)
        moved = account.begin_move(planned)

        assert taken == [3, 4]
        assert sorted(moved().uids or ()) == [1, 2]
        assert [reading.uid for reading in ahead] == [3, 4]
        assert line.now.turns == turns + 1


@pytest.mark.dovecot
def test_looking_whether_there_is_anything_new_costs_one_small_turn(dovecot: Dovecot) -> None:
    """A hundred and fifty octets in both directions."""
    server, mailbox = someone(dovecot, mail(1))
    line = Line()
    with imap.open_account(server, PASSWORD, line) as account:
        state = opened(account)
        assert not account.changed(state)
        turns, received, sent = line.now.turns, line.now.received, len(b"".join(line.now.sent))

        assert not account.changed(state)

        assert line.now.turns - turns == 1
        assert line.now.received - received + len(b"".join(line.now.sent)) - sent <= 150
        mailbox.deliver(mail(2))
        assert account.changed(state)
        assert opened(account).exists == 2
        assert account.changed(replace(opened(account), uidvalidity=1))
        assert account.changed(replace(state, folder="Gone"))


def test_changes_are_seen_without_unselect() -> None:
    """STATUS may be stale for the selected folder until the server has been asked for news (RFC 3501, 6.3.10)."""
    part = Part({"STATUS": "* STATUS INBOX (UIDNEXT 4 UIDVALIDITY 7)\r\nTAG OK"}, capabilities="IMAP4rev1")
    with account_on(part) as (account, scripted):
        assert not account.changed(opened(account))

    assert scripted.commands()[-3:-1] == ["NOOP", "STATUS INBOX (UIDNEXT UIDVALIDITY)"]


@pytest.mark.dovecot
def test_another_folder_is_opened_when_all_is_quiet(dovecot: Dovecot) -> None:
    """UIDs of the old folder must not be taken for those of the new one."""

    class Watching(Recorder):
        def sendall(self, data: bytes) -> None:
            if b" SELECT " in data:
                quiet.append(len(account._pipe._flying) == 1)
            super().sendall(data)

    quiet: list[bool] = []  # whether no other answer was on its way when a folder was opened
    server, mailbox = someone(dovecot, *(mail(n) for n in range(1, 10)))
    mailbox.create("Other")
    with imap.open_account(server, PASSWORD, Line(Watching)) as account:
        account.window = 2
        windows = account.scan(opened(account), Span(), EVERY)
        next(windows)
        opened(account, "Other")
        next(windows)

    assert quiet
    assert all(quiet)


@pytest.mark.dovecot
def test_a_huge_header_is_cut_where_the_fingerprint_looks_no_further(dovecot: Dovecot) -> None:
    """Read either way it is the same message."""
    huge = Mail(b"Subject: " + b"x" * 90 + b"\r\n" + b"X-Long: y\r\n" * 20_000 + b"\r\nhello\r\n")
    server, _ = someone(dovecot, huge)
    with imap.open_account(server, PASSWORD) as account:
        state = opened(account)
        (by_header,) = account.headers(state, 1)
        (by_octets,) = account.read(state, [1], 262_144)
        (first,) = account.read(state, [1], 8_192)

    assert len(by_header.raw) == MAX_HEADER_OCTETS
    assert header_block(first.raw) is None
    blocks = [header_block(reading.raw) for reading in (by_header, by_octets)]
    assert None not in blocks
    assert len({fingerprint_of(block) for block in blocks if block is not None}) == 1


@pytest.mark.parametrize("bad", [1, 2, 3])
def test_messages_that_the_server_refuses_are_left_out(bad: int) -> None:
    """Yahoo refuses some for ever, and with them each command that asks for them; the rest is read, once."""

    def fetch(command: str) -> str:
        first, _, last = command.split()[2].partition(":")
        section = "HEADER.FIELDS (FROM)" if "FIELDS" in command else ""
        said = ""
        for uid in range(int(first), int(last or first) + 1):
            if uid == bad:
                return said + "TAG NO [UNAVAILABLE] UID FETCH Server error"
            said += f"* {uid} FETCH (UID {uid} BODY[{section}] {{2}}\r\n\r\n)\r\n"
        return said + "TAG OK done"

    with account_on(Part({"UID FETCH": fetch})) as (account, _):
        state = opened(account)
        windows = list(account.scan(state, Span(), EVERY))
        readings = list(account.read(state, [1, 2, 3], 10))

    expected = [uid for uid in (1, 2, 3) if uid != bad]
    assert [uid for window in windows for uid in window.suspects] == expected
    assert [reading.uid for reading in readings] == expected
    assert windows[-1].last_uid == 3


@pytest.mark.parametrize("what", ["scan", "read", "headers"])
@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("TAG NO Request is throttled. Suggested Backoff Time: 500 milliseconds", Throttled),
        ("TAG BAD Error in IMAP command", AccountError),
        ("* BYE going down", Unreachable),
        (None, Unreachable),
    ],
)
def test_a_server_that_refuses_all_is_not_asked_again_and_again(
    what: str, said: str | None, error: type[Exception]
) -> None:
    """A refusal that is not about a message ends the reading at once."""
    with account_on(Part({"UID FETCH": said})) as (account, scripted):
        state = opened(account)
        calls: dict[str, Callable[[], object]] = {
            "scan": lambda: list(account.scan(state, Span(), EVERY)),
            "read": lambda: list(account.read(state, [1, 2, 3], 10)),
            "headers": lambda: list(account.headers(state, 1)),
        }
        with pytest.raises(error):
            calls[what]()

    assert len([command for command in scripted.commands() if "FETCH" in command]) == 1


def test_patience_with_refusals_ends() -> None:
    """Whoever says NO to everything is down, not choosy."""
    part = Part({"SELECT": SELECTED.replace("UIDNEXT 4", "UIDNEXT 900"), "UID FETCH": "TAG NO [SERVERBUG] sorry"})
    with account_on(part) as (account, scripted):
        state = opened(account)
        with pytest.raises(Unreachable, match="sorry"):
            list(account.scan(state, Span(), EVERY))

    assert len([command for command in scripted.commands() if "FETCH" in command]) <= imap.MAX_REFUSALS + 2


# ── moving ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def batch(*uids: int, to: str = "Bounces", source: str = "INBOX", uidvalidity: int = 7) -> MoveBatch:
    class Preparing:
        def prepare(self, _folder: str) -> None: ...

    return batch_of(Preparing(), FolderState(source, uidvalidity, 0, 0), uids, to)  # type: ignore[arg-type]


def test_without_move_and_uidplus_nothing_is_moved() -> None:
    """Only a plain EXPUNGE could, and that takes other mail along (hMailServer)."""
    with account_on(Part(capabilities="IMAP4rev1")) as (account, scripted):
        with pytest.raises(CannotMove, match="neither MOVE nor UIDPLUS"):
            _ = account.method
        with pytest.raises(CannotMove, match="plain EXPUNGE"):
            account.move(batch(1))
        with pytest.raises(CannotMove, match="UIDPLUS"):
            account.remove([MessageRef("INBOX", 7, 1)])

    assert not [c for c in scripted.commands() if re.match("UID|EXPUNGE|STORE|COPY|MOVE", c)]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("* OK [COPYUID 9 1:2 5:6] Moved\r\n* 1 EXPUNGE\r\n* 1 EXPUNGE\r\nTAG OK done", Moved(9, {1: 5, 2: 6})),
        ("TAG OK [COPYUID 9 1,2 6,5] done", Moved(9, {1: 6, 2: 5})),
        ("* OK [COPYUID 9 1 5]\r\n* OK [COPYUID 9 2 6]\r\nTAG OK done", Moved(9, {1: 5, 2: 6})),
        ("TAG OK done", Moved()),  # Proton Bridge, or Cyrus when nothing was there
        ("TAG OK [COPYUID 0 1:2 5:6] done", Moved()),  # seen by MailKit
        ("TAG OK [COPYUID 9 1:2 5:7] done", Moved()),
        ("TAG OK [COPYUID 9 1:3 5:7] done", Moved()),  # nobody asked for 3
        ("TAG OK [COPYUID 9 1:4294967295 1:4294967295] done", Moved()),
        ("TAG OK [COPYUID 9 1,2 5,5] done", Moved()),
        ("TAG OK [COPYUID 9 2:1 5:6] done", Moved()),
        ("TAG OK [COPYUID 9 0:1 5:6] done", Moved()),
        ("TAG OK [COPYUID 9 1:,2 5:6] done", Moved()),
        ("* OK [COPYUID 9 1 5]\r\n* OK [COPYUID 8 2 6]\r\nTAG OK done", Moved()),
    ],
)
def test_copyuid_is_believed_only_when_it_makes_sense(said: str, expected: Moved) -> None:
    """Otherwise it is as if the server had said nothing, and the account is looked at instead."""
    with account_on(Part({"UID MOVE": said})) as (account, scripted):
        assert account.move(batch(1, 2)) == expected

    assert 'UID MOVE 1:2 "Bounces"' in scripted.commands()


@pytest.mark.parametrize(
    ("copyuid", "removed"),
    [("[COPYUID 9 1:2 5:6] ", "1:2"), ("[COPYUID 9 2 6] ", "2"), ("", None), ("[COPYUID 9 3 5] ", None)],
)
def test_only_what_was_copied_is_removed(copyuid: str, removed: str | None) -> None:
    """Without MOVE: COPY, then exactly those UIDs that the server says it has copied; if it says nothing, none."""
    with account_on(Part({"UID COPY": f"TAG OK {copyuid}done"}, capabilities="IMAP4rev1 UIDPLUS")) as (
        account,
        scripted,
    ):
        assert account.method is Method.COPY
        account.move(batch(1, 2))

    done = [c for c in scripted.commands() if c.startswith("UID")]
    expected = [f"UID STORE {removed} +FLAGS.SILENT (\\Deleted)", f"UID EXPUNGE {removed}"] if removed else []
    assert done == ['UID COPY 1:2 "Bounces"', *expected]


@pytest.mark.dovecot
@pytest.mark.parametrize("move", [True, False])
def test_a_target_that_vanished_is_made_anew(dovecots: Dovecots, move: bool) -> None:
    """Once: the server says TRYCREATE (RFC 3501, 7.1)."""
    server, mailbox = someone(dovecots(Variant(move=move)), mail(1), mail(2))
    with imap.open_account(server, PASSWORD) as account:
        state = opened(account)
        planned = batch_of(account, state, [1])
        with mailbox.session() as other:
            other.delete("Bounces")

        account.move(planned)

    after = mailbox.snapshot()
    assert (len(after["INBOX"]), len(after["Bounces"])) == (1, 1)
    assert "Bounces" in mailbox.subscribed()


def test_a_target_that_will_not_stay_is_given_up() -> None:
    """TRYCREATE a second time is an error."""
    stubborn = Part({"UID MOVE": "TAG NO [TRYCREATE] no such folder"})
    with account_on(stubborn) as (account, scripted):
        account.prepare("Bounces")
        with pytest.raises(FolderMissing, match="no such folder"):
            account.move(batch(1))

    assert len([c for c in scripted.commands() if c.startswith("UID MOVE")]) == 2


@pytest.mark.dovecot
@pytest.mark.parametrize("move", [True, False])
def test_a_full_account_says_so(dovecots: Dovecots, move: bool) -> None:
    """Nothing is moved, or lost."""
    server, mailbox = someone(dovecots(Variant(move=move, quota_messages=2)), mail(1), mail(2), mail(3))
    before = mailbox.snapshot()
    with imap.open_account(server, PASSWORD) as account:
        state = opened(account)
        planned = batch_of(account, state, [1, 2, 3])
        if move:  # Dovecot moves within one quota root even when it is full
            account.move(planned)
            assert len(mailbox.snapshot()["Bounces"]) == 3
            return
        with pytest.raises(OverQuota, match="make room"):
            account.move(planned)
        with pytest.raises(OverQuota, match="INBOX"):
            account.append("INBOX", b"Subject: alert\r\n\r\nhello\r\n")

    assert mailbox.snapshot()["INBOX"] == before["INBOX"]


@pytest.mark.dovecot
@pytest.mark.parametrize("rights", ["lr", "lrwsi"])
def test_a_read_only_folder_can_be_read_and_not_emptied(dovecots: Dovecots, rights: str) -> None:
    """A shared folder, for example."""
    server, mailbox = someone(dovecots(Variant(acl=True)), mail(1))
    mailbox.grant("INBOX", rights)
    with imap.open_account(server, PASSWORD) as account:
        state = opened(account)
        assert [reading.uid for reading in account.read(state, [1], 10)] == [1]
        planned = batch_of(account, state, [1])
        with pytest.raises(CannotMove, match="INBOX"):
            account.move(planned)
        with pytest.raises(CannotMove, match="INBOX"):
            account.remove([MessageRef("INBOX", state.uidvalidity, 1)])

    assert [len(held) for held in mailbox.snapshot().values()].count(1) == 1


@pytest.mark.dovecot
def test_a_target_that_takes_nothing_leaves_all_where_it_is(dovecots: Dovecots) -> None:
    """The server's words say why."""
    server, mailbox = someone(dovecots(Variant(acl=True)), mail(1))
    mailbox.create("Bounces")
    mailbox.grant("Bounces", "lr")
    with imap.open_account(server, PASSWORD) as account:
        planned = batch_of(account, opened(account), [1])
        with pytest.raises(CannotMove, match="Permission denied"):
            account.move(planned)

    assert len(mailbox.snapshot()["INBOX"]) == 1


@pytest.mark.parametrize("can", ["MOVE", "UIDPLUS"])
def test_a_message_that_somebody_removed_meanwhile_is_no_refusal(can: str) -> None:
    """Dovecot says NO [EXPUNGEISSUED] then; what has become of the others is found out by looking."""
    said = {"UID (MOVE|COPY)": "TAG NO [EXPUNGEISSUED] Some messages no longer exist."}
    with account_on(Part(said, capabilities=f"IMAP4rev1 {can}")) as (account, scripted):
        moved = account.move(batch(1, 2))

    assert not moved.uids
    assert not any(command.startswith("UID STORE") for command in scripted.commands())


def test_uids_that_do_not_last_are_not_moved() -> None:
    """UIDNOTSTICKY: no interrupted move could be settled."""
    said = SELECTED.replace("TAG", "* NO [UIDNOTSTICKY] no\r\nTAG")
    with account_on(Part({"SELECT": said})) as (account, _), pytest.raises(CannotMove, match="UIDNOTSTICKY"):
        account.move(batch(1))


def test_a_folder_is_not_moved_to_itself() -> None:
    """By whatever name."""
    with account_on(Part()) as (account, scripted), pytest.raises(CannotMove, match="bounce_folder"):
        account.move(batch(1, source="Bounces", to="Bounces"))

    assert not [c for c in scripted.commands() if c.startswith("UID")]


@pytest.mark.dovecot
def test_an_alert_is_put_into_the_inbox(dovecot: Dovecot) -> None:
    """With its flags and time, whole, also while a scan is under way."""
    server, mailbox = someone(dovecot, *(mail(n) for n in range(1, 10)))
    when = datetime(2026, 4, 1, 7, 30, tzinfo=UTC) + timedelta(hours=0)
    with imap.open_account(server, PASSWORD) as account:
        account.window = 3
        state = opened(account)
        windows = account.scan(state, Span(), EVERY)
        next(windows)
        account.append("INBOX", b"Subject: alert\n\nOl\xc3\xa1\n", ("\\Flagged",), when)
        account.append("INBOX", b"Subject: two\r\n\r\nhello\r\n")
        rest = [uid for window in windows for uid in window.suspects]
        *_, one, two = account.read(opened(account), range(1, 20), 1_000)

    assert rest == [4, 5, 6, 7, 8, 9]
    assert (one.raw, one.received_at) == (b"Subject: alert\r\n\r\nOl\xc3\xa1\r\n", when)
    assert two.raw == b"Subject: two\r\n\r\nhello\r\n"
    assert mailbox.snapshot()["INBOX"][-2].flags == {"\\Flagged"}


def test_an_append_that_is_refused_leaves_the_connection_usable() -> None:
    """An alert that cannot be delivered must not stop the filing."""
    with account_on(Part({"APPEND": "TAG NO [OVERQUOTA] full"})) as (account, _):
        with pytest.raises(OverQuota, match="full"):
            account.append("INBOX", b"Subject: x\r\n\r\n")

        assert opened(account).exists == 3


def test_the_mail_is_never_expunged_wholesale() -> None:
    """Whatever was asked of the account, there was no EXPUNGE without UIDs, no CLOSE, and no move by APPEND."""
    answers = {"UID COPY": "TAG OK [COPYUID 9 1:2 5:6] done"}
    with account_on(Part(answers, capabilities="IMAP4rev1 UIDPLUS UNSELECT")) as (account, scripted):
        account.move(batch(1, 2))
        account.remove([MessageRef("INBOX", 7, 3)])

    assert not [c for c in scripted.commands() if re.match("EXPUNGE|CLOSE|APPEND|DELETE|RENAME", c)]


# --- compression -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offered", [True, False])
def test_a_server_that_offers_to_compress_and_refuses_is_read_as_it_is(offered: bool) -> None:
    """It is asked after login, and only if it offers; what it says then is no trouble."""
    capabilities = "IMAP4rev1 COMPRESS=DEFLATE" if offered else "IMAP4rev1"
    part = Part({"COMPRESS": "TAG NO not today"}, capabilities=capabilities)
    with (
        playing(part) as scripted,
        imap.open_reader(scripted.server(compress=Compress.ALWAYS), "pw") as reader,
    ):
        assert reader.state("INBOX") is not None

    told = [said.split(maxsplit=1)[0] for said in scripted.commands()]
    assert ("COMPRESS" in told) is offered
    assert "COMPRESS" not in told[: told.index("LOGIN")]


@pytest.mark.parametrize(
    ("wanted", "near", "round_trip", "worth"),
    [
        (Compress.AUTO, False, 0.05, True),
        (Compress.AUTO, False, 0.0005, False),
        (Compress.AUTO, True, 0.05, False),
        (Compress.ALWAYS, True, 0.0, True),
        (Compress.NEVER, False, 9.0, False),
    ],
)
def test_compression_is_worth_it_over_a_slow_line(wanted: Compress, near: bool, round_trip: float, worth: bool) -> None:
    """Never on this very machine, which may be slow for other reasons; the user has the last word."""
    assert compressing(wanted, near=near, round_trip=round_trip) is worth
