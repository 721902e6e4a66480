"""The secrets of an account, each from the one source that the configuration names; this room never goes guessing.

They are its password, and the addresses (URLs) that alerts are sent to, in which there is a token or a password too.
Only this module knows keyring, which is imported late: it takes longer than everything else at the start. No message
raised here holds a secret, nor the text of a foreign exception, which may.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple, TypeVar, assert_never

from bouncefiler.errors import CredentialError, NoToken
from bouncefiler.settings import (
    Command,
    CredentialSource,
    EnvironmentVariable,
    KeyringEntry,
    SystemdCredential,
    TokenCommand,
)

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

T = TypeVar("T")


class Patience(NamedTuple):
    """How many seconds a source may take.

    A locked keyring asks the person first; where there is no person, it would wait for ever.
    """

    command: float = 30
    keyring: float = 120


PATIENCE = Patience()

MAX_OCTETS = 65_536
"""No secret is longer than this; a source that says more is not one."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,60000}=*", re.ASCII)
"""RFC 6750, 2.1 (b64token)."""

MAX_URLS = 5
"""So many addresses are notified: each may take some seconds of every attempt."""

_OURS = re.compile(
    r"BOUNCEFILER_.*|NOTIFY_SOCKET|WATCHDOG_(?:PID|USEC)|LISTEN_.*|CREDENTIALS_DIRECTORY|STATE_DIRECTORY|INVOCATION_ID"
)
"""Variables that were meant for this process only (systemd.exec(5), sd_notify(3))."""


@dataclass(frozen=True, slots=True)
class _Secret:
    """What is looked for, and how a message speaks of it."""

    account: str
    user: str
    noun: str
    key: str
    """The configuration's key for its source."""
    login: str
    """The command that puts it into the keyring."""
    name: str
    """What a variable, a file or an entry for it may be called."""
    one_line: bool


def _password_of(account: str, user: str) -> _Secret:
    return _Secret(
        account, user, "password", "password_from", f"bouncefiler login {account}", "password", one_line=True
    )


def _token_of(account: str, user: str) -> _Secret:
    login = f"bouncefiler login {account}"
    return _Secret(account, user, "access token", "token_from", login, "token", one_line=True)


def _urls_of(account: str, user: str) -> _Secret:
    login = f"bouncefiler login {account} --notify"
    return _Secret(account, user, "list of notification URLs", "notify_from", login, "notify", one_line=False)


def password(
    source: CredentialSource,
    account: str,
    user: str,
    environ: Mapping[str, str],
    *,
    hidden: Collection[str] = (),
    patience: Patience = PATIENCE,
) -> str:
    """Return the password or access token that `source` holds for this account.

    A command runs without the variables in `hidden`, which are those that hold other secrets; the first line that it
    prints is the password. Raises CredentialError, whose further lines say which other sources there are and what to
    write to use them; NoToken where it is a token that is missing.
    """
    if isinstance(source, TokenCommand):
        secret = _token_of(account, user)
        try:
            return _checked_token(_found(source, secret, environ, hidden, patience), secret, _place(source))
        except CredentialError as exc:
            raise NoToken(str(exc)) from None
    secret = _password_of(account, user)
    return _checked(_found(source, secret, environ, hidden, patience), _place(source))


def notify_urls(
    source: CredentialSource,
    account: str,
    user: str,
    environ: Mapping[str, str],
    *,
    hidden: Collection[str] = (),
    patience: Patience = PATIENCE,
) -> tuple[str, ...]:
    """Return the URLs to notify that `source` holds for this account, one a line. Raises as `password`."""
    secret = _urls_of(account, user)
    return _checked_urls(_found(source, secret, environ, hidden, patience), secret, _place(source))


def remember(source: CredentialSource, account: str, user: str, password: str) -> None:
    """Put the password into the keyring, over the one that may be there.

    Raises CredentialError when the account's source is another one, or the keyring cannot be used.
    """
    secret = _password_of(account, user)
    _keep(source, secret, _checked(password, "what was typed"))


def remember_urls(source: CredentialSource, account: str, user: str, urls: Sequence[str]) -> None:
    """Put the URLs to notify into the keyring, over those that may be there. Raises as `remember`."""
    secret = _urls_of(account, user)
    _keep(source, secret, "\n".join(_checked_urls("\n".join(urls), secret, "what was typed")))


def _keep(source: CredentialSource, secret: _Secret, value: str) -> None:
    service = _keyring_service(source, secret)
    backend = _usable_backends(secret)[0]
    _ask(secret, partial(backend.set_password, service, _entry(secret), value))


def forget(source: CredentialSource, account: str, user: str) -> bool:
    """Take the password out of the keyring; return whether it was there. Raises CredentialError like `remember`."""
    secret = _password_of(account, user)
    service = _keyring_service(source, secret)
    entry = _entry(secret)
    backends = _usable_backends(secret)
    holding = [
        backend for backend in backends if _ask(secret, partial(backend.get_password, service, entry)) is not None
    ]
    for backend in holding:
        _ask(secret, partial(backend.delete_password, service, entry))
    return bool(holding)


def _found(
    source: CredentialSource,
    secret: _Secret,
    environ: Mapping[str, str],
    hidden: Collection[str],
    patience: Patience,
) -> str:
    """Return all that the source says, without a line break at its end."""
    match source:
        case KeyringEntry(service=service):
            return _from_keyring(service, secret, patience.keyring)
        case SystemdCredential(name=name):
            return _from_systemd(name, secret, environ)
        case Command(argv=argv) | TokenCommand(argv=argv):
            return _from_command(argv, secret, child_environ(environ, hidden), patience.command)
        case EnvironmentVariable(name=name):
            return _from_environment(name, secret, environ)
        case _:
            assert_never(source)


def _entry(secret: _Secret) -> str:
    """Name the keyring entry by account *and* user: the same user name at two servers must not share a password."""
    return f"{secret.account}/{secret.user}"


def _keyring_service(source: CredentialSource, secret: _Secret) -> str:
    match source:
        case KeyringEntry(service=service):
            return service
        case _:
            raise CredentialError(
                f"its {secret.noun} comes from {_place(source)}, not from the keyring; put it there, or write "
                f'`{secret.key} = "keyring"` in the configuration first'
            )


def _place(source: CredentialSource) -> str:
    match source:
        case KeyringEntry():
            return "the keyring"
        case SystemdCredential(name=name):
            return f"the systemd credential {name!r}"
        case Command(argv=argv) | TokenCommand(argv=argv):
            return f"the command {argv[0]!r}"
        case EnvironmentVariable(name=name):
            return f"the environment variable {name}"
        case _:
            assert_never(source)


def _checked(found: str, place: str) -> str:
    if not found:
        raise CredentialError(f"the password from {place} is empty")
    if any(mark in found for mark in "\r\n\0"):
        # A line break would end the LOGIN command there and start another (RFC 3501, 9: no CR, LF or NUL in `quoted`).
        raise CredentialError(f"the password from {place} has a line break or a NUL in it")
    return found


def _checked_token(found: str, secret: _Secret, place: str) -> str:
    token = found.strip()
    if not _TOKEN.fullmatch(token):
        raise CredentialError(
            f"what {place} prints is no access token (RFC 6750, 2.1); run the command of {secret.key} by hand: the "
            "first line has to be the token and nothing else"
        )
    return token


def _checked_urls(found: str, secret: _Secret, place: str) -> tuple[str, ...]:
    urls = tuple(dict.fromkeys(line for text in found.splitlines() if (line := text.strip())))
    if not urls:
        raise CredentialError(f"there are no notification URLs in {place}; `{secret.login}` says how to put some there")
    if len(urls) > MAX_URLS:
        raise CredentialError(f"there are {len(urls)} notification URLs in {place}, and {MAX_URLS} is the most")
    for number, url in enumerate(urls, 1):
        if "://" not in url or not url.isprintable() or " " in url:
            raise CredentialError(
                f"line {number} of the notification URLs from {place} is no URL such as ntfys://TOPIC; "
                "docs/alerts.md shows how they are written"
            )
    return urls


def _without_newline(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


def _other_sources(secret: _Secret) -> str:
    """Say, in lines to copy, where else it can be kept."""
    account, key, name = secret.account, secret.key, secret.name
    table = f"accounts.{account}.alert" if not secret.one_line else f"accounts.{account}"
    variable = f"{re.sub('[^A-Z0-9]', '_', account.upper())}_{name.upper()}"
    entry, credential = ("mail", account) if secret.one_line else (name, f"{account}-{name}")
    printed = "the first line that it prints" if secret.one_line else "all lines that it prints"
    return "\n".join(
        (
            f"Where else the {secret.noun} can be; write one of these under [{table}] in the configuration:",
            f'  {key} = {{ command = ["pass", "show", "{entry}/{account}"] }}  # {printed}',
            f'  {key} = {{ systemd = "{credential}" }}  # and in the unit, under [Service]:',
            f"      LoadCredential={credential}:/etc/bouncefiler/{account}.{name}",
            f'  {key} = {{ environment = "{variable}" }}',
        )
    )


# --- keyring ---------------------------------------------------------------------------------------------------------


def _from_keyring(service: str, secret: _Secret, seconds: float) -> str:
    for backend in _usable_backends(secret, seconds):
        found = _ask(secret, partial(backend.get_password, service, _entry(secret)), seconds)
        if found is not None:
            return found
    raise CredentialError(
        f"the keyring holds no {secret.noun} for {secret.user}; `{secret.login}` asks once "
        f"and keeps what you say there\n{_other_sources(secret)}"
    )


def _usable_backends(secret: _Secret, seconds: float = PATIENCE.keyring) -> tuple[KeyringBackend, ...]:
    """Return the keyrings to ask, best first: several may be running, and then keyring chains them."""
    import keyring  # noqa: PLC0415 - 93 ms, and only for those who use it
    from keyring.backends.chainer import ChainerBackend  # noqa: PLC0415

    chosen = _ask(secret, keyring.get_keyring, seconds)
    chained = tuple(chosen.backends) if isinstance(chosen, ChainerBackend) else (chosen,)
    usable = tuple(backend for backend in chained if _why_not(backend) is None)
    if usable:
        return usable
    reasons = [why for backend in chained if (why := _why_not(backend))]
    why = reasons[0] if reasons else "there is no keyring on this machine, or none is running"
    raise CredentialError(f"{why}\n{_other_sources(secret)}")


def _why_not(backend: KeyringBackend) -> str | None:
    """Say why this backend is no place for a password.

    keyrings.alt, where it is installed, steps in for a missing keyring: its files are plain text or ask for a password
    of their own. Somebody who said "keyring" did not ask for that.
    """
    module = type(backend).__module__
    if module == "keyring.backends.fail":
        return "there is no keyring on this machine, or none is running (a service or an ssh session often has none)"
    if module == "keyring.backends.null":
        return "the keyring is switched off (keyring's null back end: keyringrc.cfg or PYTHON_KEYRING_BACKEND)"
    if module.startswith("keyrings.alt."):
        return "the only keyring here is keyrings.alt, which keeps passwords in a file that others may read"
    return None


def _ask(secret: _Secret, question: Callable[[], T], seconds: float = PATIENCE.keyring) -> T:
    """Ask in a thread that may be left behind: D-Bus waits for ever for a person who isn't there."""
    answers: list[T] = []
    troubles: list[Exception] = []

    def ask() -> None:
        try:
            answers.append(question())
        except Exception as exc:  # noqa: BLE001 - back ends are plug-ins, and raise what they like
            troubles.append(exc)

    thread = Thread(target=ask, name="keyring", daemon=True)
    thread.start()
    thread.join(seconds)
    if answers:
        return answers[0]
    why = _trouble(troubles[0]) if troubles else f"the keyring did not answer within {seconds:g} seconds"
    raise CredentialError(f"{why}\n{_other_sources(secret)}")


def _trouble(exc: Exception) -> str:
    """Put a foreign exception into words; not its own, which may hold the password."""
    from keyring.errors import KeyringLocked, NoKeyringError  # noqa: PLC0415

    match exc:
        case KeyringLocked():
            return "the keyring is locked: unlock it (logging in to the desktop does), then try again"
        case NoKeyringError():
            return "there is no keyring on this machine, or none is running"
        case _:
            return f"the keyring cannot be used here ({type(exc).__name__}); `keyring diagnose` may tell more"


# --- systemd ---------------------------------------------------------------------------------------------------------


def _from_systemd(name: str, secret: _Secret, environ: Mapping[str, str]) -> str:
    """Read $CREDENTIALS_DIRECTORY/NAME (systemd.exec(5), "Credentials")."""
    if "/" in name or name in ("", ".", ".."):
        raise CredentialError(f"{name!r} cannot be the name of a systemd credential")
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise CredentialError(
            f"systemd gave this process no credentials ($CREDENTIALS_DIRECTORY is not set)\n{_unit_lines(name, secret)}"
        )
    try:
        with (Path(directory) / name).open("rb") as file:
            raw = file.read(MAX_OCTETS)
    except FileNotFoundError:
        raise CredentialError(
            f"systemd gave this process no credential {name!r}\n{_unit_lines(name, secret)}"
        ) from None
    except OSError as exc:
        why = exc.strerror or type(exc).__name__
        raise CredentialError(f"the systemd credential {name!r} cannot be read: {why}") from None
    return _without_newline(_decoded(raw, secret, f"the systemd credential {name!r}"))


def _unit_lines(name: str, secret: _Secret) -> str:
    return "\n".join(
        (
            "Write into the unit, under [Service], one of these, then `systemctl daemon-reload` and restart it:",
            f"  LoadCredential={name}:/etc/bouncefiler/{name}.{secret.name}",
            f"  LoadCredentialEncrypted={name}:/etc/credstore.encrypted/{name}",
            "The first names a file that only root can read (mode 0600); for the second, make the file with",
            f"  systemd-creds encrypt --name={name} - /etc/credstore.encrypted/{name}",
        )
    )


def _decoded(raw: bytes, secret: _Secret, place: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise CredentialError(f"the {secret.noun} from {place} is not UTF-8 text") from None


# --- command ---------------------------------------------------------------------------------------------------------


def _from_command(argv: tuple[str, ...], secret: _Secret, environ: Mapping[str, str], seconds: float) -> str:
    """Return what the command prints, or its first line. Standard error may hold secrets: it is dropped."""
    try:
        done = subprocess.run(  # noqa: S603 - the user's own command, and no shell
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            env=environ,
            check=False,
        )
    except FileNotFoundError:
        raise CredentialError(
            f"there is no program {argv[0]!r} to ask for the {secret.noun}; install it, or write its "
            f"whole path in {secret.key} (a service has a shorter PATH than you)"
        ) from None
    except subprocess.TimeoutExpired:
        raise CredentialError(
            f"the command {argv[0]!r} took longer than {seconds:g} seconds; it may "
            f"be waiting for you: run the command of {secret.key} by hand, in a terminal"
        ) from None
    except OSError as exc:
        why = exc.strerror or type(exc).__name__
        raise CredentialError(f"the command {argv[0]!r} cannot be run: {why}") from None
    if done.returncode != 0:
        raise CredentialError(
            f"the command {argv[0]!r} ended with {_ending(done.returncode)}; run the "
            f"command of {secret.key} by hand to see what it says"
        )
    told = done.stdout[:MAX_OCTETS]
    if secret.one_line:  # `pass` keeps notes in the further ones
        told = told.split(b"\n", 1)[0]
    return _without_newline(_decoded(told, secret, f"the command {argv[0]!r}"))


def _ending(returncode: int) -> str:
    return f"status {returncode}" if returncode > 0 else f"signal {-returncode}"


def child_environ(environ: Mapping[str, str], hidden: Collection[str]) -> dict[str, str]:
    """Return the variables that a process of somebody else's may have: not `hidden`, nor what is for us only."""
    return {name: value for name, value in environ.items() if name not in hidden and not _OURS.fullmatch(name)}


# --- environment -----------------------------------------------------------------------------------------------------


def _from_environment(name: str, secret: _Secret, environ: Mapping[str, str]) -> str:
    try:
        return environ[name]
    except KeyError:
        raise CredentialError(
            f"the environment variable {name} is not set; set it for the process that runs "
            f"bouncefiler, or keep the {secret.noun} elsewhere\n{_other_sources(secret)}"
        ) from None
