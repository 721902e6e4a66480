"""The password of an account, from the one source that the configuration names; this room never goes guessing.

Only this module knows keyring, which is imported late: it takes longer than everything else at the start. No message
raised here holds a password, nor the text of a foreign exception, which may.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple, TypeVar, assert_never

from bouncefiler.errors import CredentialError
from bouncefiler.settings import Command, CredentialSource, EnvironmentVariable, KeyringEntry, SystemdCredential

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
"""No password is longer than this; a source that says more is not one."""

_OURS = re.compile(
    r"BOUNCEFILER_.*|NOTIFY_SOCKET|WATCHDOG_(?:PID|USEC)|LISTEN_.*|CREDENTIALS_DIRECTORY|STATE_DIRECTORY|INVOCATION_ID"
)
"""Variables that were meant for this process only (systemd.exec(5), sd_notify(3))."""


def password(
    source: CredentialSource,
    account: str,
    user: str,
    environ: Mapping[str, str],
    *,
    hidden: Collection[str] = (),
    patience: Patience = PATIENCE,
) -> str:
    """Return the password or token that `source` holds for this account.

    A command runs without the variables in `hidden`, which are those that hold other accounts' passwords. Raises
    CredentialError, whose further lines say which other sources there are and what to write to use them.
    """
    match source:
        case KeyringEntry(service=service):
            found = _from_keyring(service, account, user, patience.keyring)
        case SystemdCredential(name=name):
            found = _from_systemd(name, account, environ)
        case Command(argv=argv):
            found = _from_command(argv, account, _child_environ(environ, hidden), patience.command)
        case EnvironmentVariable(name=name):
            found = _from_environment(name, account, environ)
        case _:
            assert_never(source)
    return _checked(found, account, _place(source))


def remember(source: CredentialSource, account: str, user: str, password: str) -> None:
    """Put the password into the keyring, over the one that may be there.

    Raises CredentialError when the account's source is another one, or the keyring cannot be used.
    """
    service = _keyring_service(source, account)
    secret = _checked(password, account, "what was typed")
    backend = _usable_backends(account)[0]
    _ask(account, partial(backend.set_password, service, _entry(account, user), secret))


def forget(source: CredentialSource, account: str, user: str) -> bool:
    """Take the password out of the keyring; return whether it was there. Raises CredentialError like `remember`."""
    service = _keyring_service(source, account)
    entry = _entry(account, user)
    backends = _usable_backends(account)
    holding = [
        backend for backend in backends if _ask(account, partial(backend.get_password, service, entry)) is not None
    ]
    for backend in holding:
        _ask(account, partial(backend.delete_password, service, entry))
    return bool(holding)


def _entry(account: str, user: str) -> str:
    """Name the keyring entry by account *and* user: the same user name at two servers must not share a password."""
    return f"{account}/{user}"


def _keyring_service(source: CredentialSource, account: str) -> str:
    match source:
        case KeyringEntry(service=service):
            return service
        case _:
            raise CredentialError(
                f"account {account}: its password comes from {_place(source)}, not from the keyring; put it there, or "
                'write `password_from = "keyring"` in the configuration first'
            )


def _place(source: CredentialSource) -> str:
    match source:
        case KeyringEntry():
            return "the keyring"
        case SystemdCredential(name=name):
            return f"the systemd credential {name!r}"
        case Command(argv=argv):
            return f"the command {argv[0]!r}"
        case EnvironmentVariable(name=name):
            return f"the environment variable {name}"
        case _:
            assert_never(source)


def _checked(found: str, account: str, place: str) -> str:
    if not found:
        raise CredentialError(f"account {account}: the password from {place} is empty")
    if any(mark in found for mark in "\r\n\0"):
        # A line break would end the LOGIN command there and start another (RFC 3501, 9: no CR, LF or NUL in `quoted`).
        raise CredentialError(f"account {account}: the password from {place} has a line break or a NUL in it")
    return found


def _without_newline(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


def _other_sources(account: str) -> str:
    """Say, in lines to copy, where else a password can be kept."""
    variable = f"{re.sub('[^A-Z0-9]', '_', account.upper())}_PASSWORD"
    return "\n".join(
        (
            f"Where else the password can be; write one of these under [accounts.{account}] in the configuration:",
            f'  password_from = {{ command = ["pass", "show", "mail/{account}"] }}  # the first line that it prints',
            f'  password_from = {{ systemd = "{account}" }}  # and in the unit, under [Service]:',
            f"      LoadCredential={account}:/etc/bouncefiler/{account}.password",
            f'  password_from = {{ environment = "{variable}" }}',
        )
    )


# --- keyring ---------------------------------------------------------------------------------------------------------


def _from_keyring(service: str, account: str, user: str, seconds: float) -> str:
    for backend in _usable_backends(account, seconds):
        found = _ask(account, partial(backend.get_password, service, _entry(account, user)), seconds)
        if found is not None:
            return found
    raise CredentialError(
        f"account {account}: the keyring holds no password for {user}; `bouncefiler login {account}` asks for it once "
        f"and keeps it there\n{_other_sources(account)}"
    )


def _usable_backends(account: str, seconds: float = PATIENCE.keyring) -> tuple[KeyringBackend, ...]:
    """Return the keyrings to ask, best first: several may be running, and then keyring chains them."""
    import keyring  # noqa: PLC0415 - 93 ms, and only for those who use it
    from keyring.backends.chainer import ChainerBackend  # noqa: PLC0415

    chosen = _ask(account, keyring.get_keyring, seconds)
    chained = tuple(chosen.backends) if isinstance(chosen, ChainerBackend) else (chosen,)
    usable = tuple(backend for backend in chained if _why_not(backend) is None)
    if usable:
        return usable
    reasons = [why for backend in chained if (why := _why_not(backend))]
    why = reasons[0] if reasons else "there is no keyring on this machine, or none is running"
    raise CredentialError(f"account {account}: {why}\n{_other_sources(account)}")


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


def _ask(account: str, question: Callable[[], T], seconds: float = PATIENCE.keyring) -> T:
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
    raise CredentialError(f"account {account}: {why}\n{_other_sources(account)}")


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


def _from_systemd(name: str, account: str, environ: Mapping[str, str]) -> str:
    """Read $CREDENTIALS_DIRECTORY/NAME (systemd.exec(5), "Credentials")."""
    if "/" in name or name in ("", ".", ".."):
        raise CredentialError(f"account {account}: {name!r} cannot be the name of a systemd credential")
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise CredentialError(
            f"account {account}: systemd gave this process no credentials ($CREDENTIALS_DIRECTORY is not set)\n"
            f"{_unit_lines(name)}"
        )
    try:
        with (Path(directory) / name).open("rb") as file:
            raw = file.read(MAX_OCTETS)
    except FileNotFoundError:
        raise CredentialError(
            f"account {account}: systemd gave this process no credential {name!r}\n{_unit_lines(name)}"
        ) from None
    except OSError as exc:
        why = exc.strerror or type(exc).__name__
        raise CredentialError(f"account {account}: the systemd credential {name!r} cannot be read: {why}") from None
    return _without_newline(_decoded(raw, account, f"the systemd credential {name!r}"))


def _unit_lines(name: str) -> str:
    return "\n".join(
        (
            "Write into the unit, under [Service], one of these, then `systemctl daemon-reload` and restart it:",
            f"  LoadCredential={name}:/etc/bouncefiler/{name}.password",
            f"  LoadCredentialEncrypted={name}:/etc/credstore.encrypted/{name}",
            "The first names a file that only root can read (mode 0600); for the second, make the file with",
            f"  systemd-creds encrypt --name={name} - /etc/credstore.encrypted/{name}",
        )
    )


def _decoded(raw: bytes, account: str, place: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise CredentialError(f"account {account}: the password from {place} is not UTF-8 text") from None


# --- command ---------------------------------------------------------------------------------------------------------


def _from_command(argv: tuple[str, ...], account: str, environ: Mapping[str, str], seconds: float) -> str:
    """Return the first line that the command prints. What it says on standard error may hold secrets: it is dropped."""
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
            f"account {account}: there is no program {argv[0]!r} to ask for the password; install it, or write its "
            "whole path in password_from (a service has a shorter PATH than you)"
        ) from None
    except subprocess.TimeoutExpired:
        raise CredentialError(
            f"account {account}: the password command {argv[0]!r} took longer than {seconds:g} seconds; it may "
            "be waiting for you: run the command of password_from by hand, in a terminal"
        ) from None
    except OSError as exc:
        why = exc.strerror or type(exc).__name__
        raise CredentialError(f"account {account}: the password command {argv[0]!r} cannot be run: {why}") from None
    if done.returncode != 0:
        raise CredentialError(
            f"account {account}: the password command {argv[0]!r} ended with {_ending(done.returncode)}; run the "
            "command of password_from by hand to see what it says"
        )
    first_line = done.stdout[:MAX_OCTETS].split(b"\n", 1)[0]
    return _without_newline(_decoded(first_line, account, f"the command {argv[0]!r}"))


def _ending(returncode: int) -> str:
    return f"status {returncode}" if returncode > 0 else f"signal {-returncode}"


def _child_environ(environ: Mapping[str, str], hidden: Collection[str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in hidden and not _OURS.fullmatch(name)}


# --- environment -----------------------------------------------------------------------------------------------------


def _from_environment(name: str, account: str, environ: Mapping[str, str]) -> str:
    try:
        return environ[name]
    except KeyError:
        raise CredentialError(
            f"account {account}: the environment variable {name} is not set; set it for the process that runs "
            f"bouncefiler, or keep the password elsewhere\n{_other_sources(account)}"
        ) from None
