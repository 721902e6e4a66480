"""Passwords come from the one source that is configured, and never show up in a message."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import chainer
from keyring.core import load_keyring
from keyring.errors import KeyringLocked, PasswordDeleteError

from bouncefiler.edge.credentials import MAX_URLS, Patience, forget, notify_urls, password, remember, remember_urls
from bouncefiler.errors import CredentialError
from bouncefiler.settings import (
    NOTIFY_ENTRY,
    Command,
    CredentialSource,
    EnvironmentVariable,
    KeyringEntry,
    SystemdCredential,
)

SECRET = "corr3ct h0rse"
USER = "ana@example.org"

NONE = load_keyring("keyring.backends.fail.Keyring")
SWITCHED_OFF = load_keyring("keyring.backends.null.Keyring")


class Drawer(KeyringBackend):
    """A keyring that works."""

    priority = 5

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.kept.pop((service, username), None) is None:
            raise PasswordDeleteError("No such password!")


class Broken(Drawer):
    """A keyring whose every answer is an exception."""

    def __init__(self, trouble: Exception) -> None:
        self.trouble = trouble

    def get_password(self, service: str, username: str) -> str | None:
        raise self.trouble

    def set_password(self, service: str, username: str, password: str) -> None:
        raise self.trouble


class Chain(chainer.ChainerBackend):
    """Several keyrings, as keyring chains them when more than one runs."""

    backends: tuple[KeyringBackend, ...] = ()

    def __init__(self, *backends: KeyringBackend) -> None:
        self.backends = backends


class PlainFile(Drawer):
    """What keyrings.alt brings."""

    __module__ = "keyrings.alt.file"


@pytest.fixture(autouse=True)
def _own_keyring() -> Iterator[None]:
    keyring.set_keyring(NONE)
    yield
    keyring.set_keyring(NONE)


def printing(code: str) -> Command:
    return Command((sys.executable, "-c", code))


def refusal(source: CredentialSource, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(CredentialError) as caught:
        password(source, "home", USER, environ or {})
    assert caught.value.__cause__ is None, "the cause may hold the password"
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_what_login_puts_into_the_keyring_is_found_there() -> None:
    """`remember` and `password` mean the same entry."""

    keyring.set_keyring(Drawer())
    remember(KeyringEntry(), "home", USER, SECRET)
    assert password(KeyringEntry(), "home", USER, {}) == SECRET


def test_the_same_user_name_at_two_servers_has_two_passwords() -> None:
    """A password is never sent to another account's server."""

    keyring.set_keyring(Drawer())
    remember(KeyringEntry(), "home", "ana", SECRET)
    with pytest.raises(CredentialError):
        password(KeyringEntry(), "work", "ana", {})


def test_forget_takes_the_password_out() -> None:
    """Afterwards it is gone, and forgetting again says that there was none."""

    keyring.set_keyring(Drawer())
    remember(KeyringEntry(), "home", USER, SECRET)
    assert [forget(KeyringEntry(), "home", USER), forget(KeyringEntry(), "home", USER)] == [True, False]
    assert "bouncefiler login home" in refusal(KeyringEntry())


def test_an_empty_keyring_points_to_login_and_to_the_other_sources() -> None:
    """The message has the very lines to write."""

    keyring.set_keyring(Drawer())
    message = refusal(KeyringEntry())
    assert message.startswith(f"the keyring holds no password for {USER}; `bouncefiler login home` asks")
    assert 'password_from = { command = ["pass", "show", "mail/home"] }' in message
    assert 'password_from = { systemd = "home" }' in message
    assert "LoadCredential=home:/etc/bouncefiler/home.password" in message
    assert 'password_from = { environment = "HOME_PASSWORD" }' in message


@pytest.mark.parametrize(
    ("backend", "says"),
    [
        (NONE, "there is no keyring on this machine"),
        (SWITCHED_OFF, "the keyring is switched off"),
        (PlainFile(), "keyrings.alt, which keeps passwords in a file"),
        (Chain(PlainFile(), NONE), "keyrings.alt, which keeps passwords in a file"),
        (Broken(KeyringLocked("Failed to unlock the collection!")), "the keyring is locked: unlock it"),
        (Broken(OSError(f"wrote {SECRET} to nowhere")), "the keyring cannot be used here (OSError)"),
    ],
    ids=["none", "null", "alt", "alt-chained", "locked", "broken"],
)
def test_a_keyring_that_cannot_be_used_says_why_and_what_else_there_is(backend: KeyringBackend, says: str) -> None:
    """Reading and storing both refuse; nothing falls back to a plain file in silence."""

    keyring.set_keyring(backend)
    with pytest.raises(CredentialError) as stored:
        remember(KeyringEntry(), "home", USER, SECRET)
    assert SECRET not in str(stored.value)
    for message in (refusal(KeyringEntry()), str(stored.value)):
        assert says in message.splitlines()[0]
        assert "password_from = { systemd" in message


def test_of_chained_keyrings_the_plain_file_is_passed_over() -> None:
    """With a real keyring beside it, keyrings.alt is neither asked nor written to."""

    plain, real = PlainFile(), Drawer()
    keyring.set_keyring(Chain(plain, real))
    remember(KeyringEntry(), "home", USER, SECRET)
    assert (plain.kept, list(real.kept.values())) == ({}, [SECRET])
    assert password(KeyringEntry(), "home", USER, {}) == SECRET


def test_a_keyring_that_waits_for_nobody_is_given_up() -> None:
    """A locked keyring on a machine without a person does not hang the service."""

    never = Event()

    class Waiting(Drawer):
        def get_password(self, service: str, username: str) -> str | None:
            never.wait()
            return None

    keyring.set_keyring(Waiting())
    try:
        with pytest.raises(CredentialError, match=r"did not answer within 0\.01 seconds"):
            password(KeyringEntry(), "home", USER, {}, patience=Patience(keyring=0.01))
    finally:
        never.set()


def test_login_refuses_when_the_password_is_kept_elsewhere() -> None:
    """It would be stored where nobody looks."""

    with pytest.raises(CredentialError, match=r"comes from the command 'pass', not from the keyring"):
        remember(Command(("pass", "show", "x")), "home", USER, SECRET)


def test_a_systemd_credential_is_read_from_its_directory(tmp_path: Path) -> None:
    """One newline at the end is the editor's; blanks are the password's."""

    (tmp_path / "home").write_text(f" {SECRET} \n", encoding="utf-8")
    found = password(SystemdCredential("home"), "home", USER, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert found == f" {SECRET} "


def test_without_credentials_from_systemd_the_unit_line_is_given() -> None:
    """The message has the line for the unit."""

    message = refusal(SystemdCredential("imap"))
    assert "$CREDENTIALS_DIRECTORY is not set" in message.splitlines()[0]
    assert "LoadCredential=imap:/etc/bouncefiler/imap.password" in message
    assert "systemd-creds encrypt --name=imap" in message


def test_a_credential_that_systemd_did_not_give_is_named(tmp_path: Path) -> None:
    """A wrong name is told apart from a unit without credentials."""

    assert "no credential 'imap'" in refusal(SystemdCredential("imap"), {"CREDENTIALS_DIRECTORY": str(tmp_path)})


@pytest.mark.parametrize("name", ["../shadow", "a/b", "", ".."])
def test_a_credential_name_stays_in_its_directory(tmp_path: Path, name: str) -> None:
    """No slash, no dots: no other file is read."""

    (tmp_path / "shadow").write_text(SECRET, encoding="utf-8")
    directory = tmp_path / "credentials"
    directory.mkdir()
    environ = {"CREDENTIALS_DIRECTORY": str(directory)}
    assert "cannot be the name of a systemd credential" in refusal(SystemdCredential(name), environ)


def test_the_first_line_that_a_command_prints_is_the_password() -> None:
    """Further lines are notes, as `pass` prints them."""

    assert password(printing(f"print('{SECRET}'); print('user: ana')"), "home", USER, {}) == SECRET


def test_a_command_is_not_given_to_a_shell(tmp_path: Path) -> None:
    """What would be a redirection there is an argument here."""

    trap = tmp_path / "trap"
    found = password(
        Command((sys.executable, "-c", "import sys; print(sys.argv[1])", f"$HOME; touch {trap}")), "home", USER, {}
    )
    assert found == f"$HOME; touch {trap}"
    assert not trap.exists()


def test_a_command_sees_nothing_of_ours() -> None:
    """Neither systemd's words to this process nor other accounts' passwords; the rest of the environment, yes."""

    environ = {
        "WORK_PASSWORD": SECRET,
        "NOTIFY_SOCKET": "/run/x",
        "WATCHDOG_USEC": "1",
        "CREDENTIALS_DIRECTORY": "/run/y",
        "BOUNCEFILER_HOME_PASSWORD": SECRET,
        "PASSWORD_STORE_DIR": "/store",
    }
    code = "import os; print(' '.join(sorted(k for k in os.environ if not k.startswith('LC_'))))"
    assert password(printing(code), "home", USER, environ, hidden={"WORK_PASSWORD"}) == "PASSWORD_STORE_DIR"


def test_a_command_gets_no_standard_input() -> None:
    """One that asks there ends at once instead of waiting."""

    assert password(printing("import sys; print(repr(sys.stdin.read()))"), "home", USER, {}) == "''"


def test_a_failing_command_is_named_with_its_status_and_nothing_that_it_said() -> None:
    """Standard error may hold secrets."""

    code = f"import sys; print('{SECRET}'); print('{SECRET}', file=sys.stderr); sys.exit(3)"
    message = refusal(printing(code))
    assert "ended with status 3; run the command of password_from by hand" in message


def test_what_a_command_says_on_standard_error_goes_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    """Neither to the terminal nor into a log."""

    password(printing(f"import sys; print('{SECRET}', file=sys.stderr); print('x')"), "home", USER, {})
    assert capfd.readouterr() == ("", "")


def test_a_missing_program_is_named_with_the_next_step() -> None:
    """The shorter PATH of a service is the usual reason."""

    assert "there is no program 'no-such-program-here'" in refusal(Command(("no-such-program-here", "show")))


def test_a_command_that_takes_too_long_is_ended() -> None:
    """It may be waiting for a person."""

    with pytest.raises(CredentialError, match=r"took longer than 0\.2 seconds") as caught:
        password(printing("import signal; signal.pause()"), "home", USER, {}, patience=Patience(command=0.2))
    assert caught.value.__cause__ is None


def test_an_environment_variable_holds_the_password() -> None:
    """Just so, blanks included."""

    assert password(EnvironmentVariable("P"), "home", USER, {"P": f" {SECRET}"}) == f" {SECRET}"


def test_a_missing_environment_variable_is_named() -> None:
    """With what else there is."""

    message = refusal(EnvironmentVariable("P"))
    assert "the environment variable P is not set" in message
    assert "LoadCredential" in message


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "is empty"),
        ("a\r\nb LOGOUT", "has a line break or a NUL in it"),
        ("a\0", "has a line break or a NUL in it"),
    ],
)
def test_what_cannot_be_a_password_is_refused(value: str, says: str) -> None:
    """An empty one is a mistake, one with a line break would smuggle a command into the connection."""

    message = refusal(EnvironmentVariable("P"), {"P": value})
    assert message == f"the password from the environment variable P {says}"


def test_a_password_that_is_not_text_is_refused() -> None:
    """The bytes are not guessed at."""

    assert "is not UTF-8 text" in refusal(printing(r"import sys; sys.stdout.buffer.write(b'\xff\xfe\n')"))


def test_the_keyring_is_imported_only_when_it_is_asked() -> None:
    """Those who keep their password elsewhere do not pay for it at each start."""

    code = (
        "import sys; from bouncefiler.edge.credentials import password; from bouncefiler.settings import *;"
        "password(EnvironmentVariable('P'), 'a', 'u', {'P': 'x'}); sys.exit('keyring' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- the URLs to notify


URL = f"tgram://{SECRET.replace(' ', '')}/1"


def test_urls_are_all_the_lines_of_what_the_source_says() -> None:
    """A password is the first one only: `pass` keeps notes in the others."""
    lines = printing(f"print(' {URL}'); print(); print('ntfys://topic'); print('{URL}')")

    assert notify_urls(lines, "home", USER, {}) == (URL, "ntfys://topic")
    assert password(lines, "home", USER, {}) == f" {URL}"


def test_urls_and_the_password_are_kept_apart_in_the_keyring() -> None:
    keyring.set_keyring(Drawer())
    remember(KeyringEntry(), "home", USER, SECRET)
    remember_urls(NOTIFY_ENTRY, "home", USER, [URL, "ntfys://topic"])

    assert notify_urls(NOTIFY_ENTRY, "home", USER, {}) == (URL, "ntfys://topic")
    assert password(KeyringEntry(), "home", USER, {}) == SECRET


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there are no notification URLs in"),
        (" \n\n", "there are no notification URLs in"),
        (f"ntfys://topic\n{SECRET}", "line 2 of the notification URLs from the environment variable CHAT is no URL"),
        (f"{URL} {URL}", "line 1 of the notification URLs"),
        (f"{URL}\x1b", "line 1 of the notification URLs"),
        ("\n".join(f"{URL}{n}" for n in range(MAX_URLS + 1)), f"there are {MAX_URLS + 1} notification URLs in"),
    ],
)
def test_what_are_no_urls_is_said_without_them(text: str, says: str) -> None:
    with pytest.raises(CredentialError) as caught:
        notify_urls(EnvironmentVariable("CHAT"), "home", USER, {"CHAT": text})

    assert str(caught.value).startswith(f"{says}")
    assert SECRET not in str(caught.value)
    assert URL not in str(caught.value)
    assert caught.value.__cause__ is None


def test_where_urls_can_be_is_said_with_their_own_key() -> None:
    with pytest.raises(CredentialError) as caught:
        notify_urls(NOTIFY_ENTRY, "home", USER, {})

    message = str(caught.value)
    assert "[accounts.home.alert]" in message
    assert 'notify_from = { environment = "HOME_NOTIFY" }' in message
    assert "password" not in message


def test_an_empty_keyring_names_the_command_that_asks_for_urls() -> None:
    keyring.set_keyring(Drawer())
    with pytest.raises(CredentialError, match="`bouncefiler login home --notify` asks once"):
        notify_urls(NOTIFY_ENTRY, "home", USER, {})
