"""Access tokens instead of passwords: from the program that prints them to the server that takes them or not."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest

from bouncefiler.edge import credentials, imap
from bouncefiler.errors import NoToken, TokenRefused
from bouncefiler.settings import Server, TokenCommand
from tests.dovecot import PASSWORD, Dovecot, Variant
from tests.scripted import Part, playing

TOKEN = "EwB4A8l6BAAU-a._~+/7q=="

_SERVICE = """
tokeninfo_url = http://127.0.0.1:{port}/?token=
username_attribute = user
active_attribute = active
active_value = yes
"""

_MECHANISMS = """
auth_mechanisms = plain login {mechanisms}
passdb {{
  driver = oauth2
  mechanisms = {mechanisms}
  args = {service}
}}
"""


@pytest.fixture(scope="module")
def authority() -> Iterator[int]:
    """A web server that knows one token, and whose it is; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            token = parse_qs(urlsplit(self.path).query).get("token", [""])[0].replace(" ", "+")
            told = json.dumps({"user": "ann", "active": "yes"} if token == TOKEN else {"active": "no"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module", params=["xoauth2", "oauthbearer", "xoauth2 oauthbearer"])
def by_token(
    request: pytest.FixtureRequest,
    authority: int,
    dovecots: Callable[[Variant], Dovecot],
    tmp_path_factory: pytest.TempPathFactory,
) -> Server:
    """The account of ann on a Dovecot that has these ways to take a token."""
    service = tmp_path_factory.mktemp("oauth") / "service.conf.ext"
    service.write_text(_SERVICE.format(port=authority))
    service.parent.chmod(0o755)
    extra = _MECHANISMS.format(mechanisms=request.param, service=service)
    return replace(dovecots(Variant(extra=extra)).server("ann"), oauth=True)


@pytest.mark.dovecot
def test_a_server_takes_a_good_token(by_token: Server) -> None:
    """By either mechanism."""
    with imap.open_reader(by_token, TOKEN) as reader:
        state = reader.state("INBOX")
        assert state
        assert state.exists == 0


@pytest.mark.dovecot
def test_a_token_that_is_refused_says_so(by_token: Server) -> None:
    """With the server's reason and the next step, and without the token; a password is no token."""
    for token in ("expired-long-ago", PASSWORD.replace(" ", "")):
        with pytest.raises(TokenRefused, match=r"refuses the access token of ann: .*token_from") as refused:
            imap.open_reader(by_token, token)
        assert token not in str(refused.value)
        assert "(" in str(refused.value).partition("refuses")[2]


def _challenged(told: bytes) -> tuple[Part, list[str]]:
    """A server like Microsoft's or Google's: it says what is wrong in JSON, and waits for an answer."""
    heard: list[str] = []
    challenge = base64.b64encode(told).decode()

    def answer(command: str) -> str:
        heard.append(command)
        return f"+ {challenge}\r\nTAG NO AUTHENTICATE failed."

    return Part({"AUTHENTICATE": answer}, capabilities="IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2"), heard


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (b'{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}', "400, https://mail.google.com/"),
        (b'{"status":"401\\u001b[2J\\u202e"}', "401 [2J"),
        (b"[[[", "[[["),
        (b"[" * 50_000, "[[["),
        (b'"x"', '"x"'),
        (b"\xff\xfe", "��"),
    ],
)
def test_what_a_server_says_about_a_token_is_shown_as_plain_text(told: bytes, shown: str) -> None:
    """It is somebody else's text; the token itself is said once, and never again in answer to the reason."""
    part, heard = _challenged(told)
    with playing(part) as scripted, pytest.raises(TokenRefused) as refused:
        imap.open_reader(scripted.server(oauth=True), TOKEN)

    assert shown in str(refused.value)
    assert "\x1b" not in str(refused.value)
    assert len(str(refused.value)) < 800
    said = base64.b64decode(heard[0].split()[2])
    assert said == f"user=ann\x01auth=Bearer {TOKEN}\x01\x01".encode()
    assert scripted.heard[-1] == "+ "


def test_a_server_that_knows_no_tokens_is_told_none() -> None:
    """Nor is the token sent as a password."""
    with (
        playing(Part(capabilities="IMAP4rev1 AUTH=PLAIN")) as scripted,
        pytest.raises(TokenRefused, match=r"takes no access tokens; .*PLAIN; take `password_from`"),
    ):
        imap.open_reader(scripted.server(oauth=True), TOKEN)

    assert not [line for line in scripted.commands() if line.startswith(("LOGIN", "AUTHENTICATE"))]


def test_a_user_name_cannot_break_out_of_its_field() -> None:
    """RFC 5801, 4: in OAUTHBEARER a comma or an equals sign is written otherwise."""
    part = Part({"AUTHENTICATE": "TAG OK in"}, capabilities="IMAP4rev1 SASL-IR AUTH=OAUTHBEARER AUTH=XOAUTH2")
    with playing(part) as scripted:
        server = scripted.server(oauth=True, user="a=b,c")
        imap.open_reader(server, TOKEN).close()

    mechanism, said = next(line.split()[1:] for line in scripted.commands() if line.startswith("AUTHENTICATE"))
    assert mechanism == "OAUTHBEARER"
    assert base64.b64decode(said) == (
        f"n,a=a=3Db=2Cc,\x01host=127.0.0.1\x01port={server.port}\x01auth=Bearer {TOKEN}\x01\x01".encode()
    )


def _printing(text: str, status: int = 0) -> TokenCommand:
    return TokenCommand((sys.executable, "-c", f"import sys; print({text!r}); sys.exit({status})"))


@pytest.mark.parametrize("printed", [TOKEN, f"{TOKEN}\r\nand more", f"  {TOKEN} \n"])
def test_a_token_is_the_first_line_that_the_program_prints(printed: str) -> None:
    """Blanks around it are none of it."""
    assert credentials.password(_printing(printed), "home", "ann", {}) == TOKEN


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (_printing(""), "no access token"),
        (_printing('{"access_token": "secret"}'), "no access token"),
        (_printing("Error: token secret expired"), "no access token"),
        (_printing("user=ann\x01auth=Bearer secret"), "no access token"),
        (_printing("secret", status=3), "status 3"),
        (TokenCommand(("/no/such/program",)), "there is no program"),
    ],
)
def test_what_is_no_token_is_not_sent(command: TokenCommand, says: str) -> None:
    """And is not shown: it may be one, nearly."""
    with pytest.raises(NoToken, match=says) as trouble:
        credentials.password(command, "home", "ann", {})

    assert "token_from" in str(trouble.value)
    assert "secret" not in str(trouble.value)


def test_the_program_sees_no_other_secret(tmp_path: Path) -> None:
    """Variables that hold passwords of other accounts are kept from it."""
    seen = tmp_path / "seen"
    code = f"import os; open({str(seen)!r}, 'w').write(os.environ.get('HIDDEN', '-')); print('t')"
    source = TokenCommand((sys.executable, "-c", code))

    assert credentials.password(source, "home", "ann", {"HIDDEN": "pw"}, hidden={"HIDDEN"}) == "t"
    assert seen.read_text() == "-"
