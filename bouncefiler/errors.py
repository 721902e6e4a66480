"""What can go wrong, one class per thing that a caller does differently.

    BouncefilerError
    ├── ConfigError              the file is wrong: names file, key, expectation       exit 78
    ├── CredentialError          no password found: lists where it looked              exit 78
    │   └── NoToken              the program that gives tokens gave none: wait         exit 78
    ├── AccountError             the server, or the way to it                          exit 76
    │   ├── Unreachable          network, time-out, connection lost: wait              exit 69
    │   │   └── Throttled        the server asked for a pause: wait at least that long exit 75
    │   ├── Untrusted            certificate or TLS not as configured: send nothing    exit 76
    │   ├── LoginRefused         wrong password: stop, retrying locks accounts         exit 77
    │   │   └── TokenRefused     the next token may be taken: wait                     exit 77
    │   ├── FolderMissing        no such folder and none could be created              exit 73
    │   ├── FolderRenumbered     UIDVALIDITY changed under the plan: plan again        exit 75
    │   ├── OverQuota            the target has no room: wait an hour or more          exit 73
    │   └── CannotMove           no safe way to move mail there                        exit 76
    ├── Undelivered              an alert channel did not take it: try again later     exit 69
    ├── StoreBusy                another bouncefiler holds the account's state         exit 75
    ├── StoreBroken              state damaged, read-only, disk full, wrong version    exit 74
    ├── OutputRefused            a file is in the way, or can't be written             exit 73
    └── BrakePulled              user rules would move too much: ask first             exit 75

The exit codes are those of sysexits.h, so that systemd's RestartPreventExitStatus can tell them apart.
"""

from __future__ import annotations

from typing import ClassVar


class BouncefilerError(Exception):
    """Base of all errors that bouncefiler raises on purpose.

    The first line of `str()` tells a person what is wrong and the next step; further lines, where there are any, are
    further mistakes or lines to copy.
    """

    exit_code: ClassVar[int] = 70


class ConfigError(BouncefilerError):
    """The configuration cannot be used; the message names the file, the key and what is expected."""

    exit_code = 78


class CredentialError(BouncefilerError):
    """No password or token could be found; the message says where it was looked for and what else there is."""

    exit_code = 78


class NoToken(CredentialError):
    """The program that gives access tokens gave none this time: it may have needed the network."""


class AccountError(BouncefilerError):
    """The IMAP server did not do what was asked."""

    exit_code = 76


class Unreachable(AccountError):
    """Network trouble, a time-out or a lost connection: trying again later may help."""

    exit_code = 69


class Throttled(Unreachable):
    """The server asked for a pause of `retry_after` seconds (0 when it did not say how long)."""

    exit_code = 75

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Untrusted(AccountError):
    """The certificate or the TLS set-up is not what was configured; no credential has been sent."""


class LoginRefused(AccountError):
    """The server refused the user name or password; trying again with the same one may lock the account."""

    exit_code = 77


class TokenRefused(LoginRefused):
    """The server refused an access token. It locks nothing, and the next token may be a better one."""


class FolderMissing(AccountError):
    """A folder does not exist and could not be created."""

    exit_code = 73


class FolderRenumbered(AccountError):
    """UIDVALIDITY (RFC 3501, 2.3.1.1) is not the one that the plan was made for: the UIDs in it mean nothing now."""

    exit_code = 75


class OverQuota(AccountError):
    """The account has no room for the move (RFC 5530 OVERQUOTA)."""

    exit_code = 73


class CannotMove(AccountError):
    """The server or the folder offers no way to move a message without endangering others."""


class Undelivered(BouncefilerError):
    """An alert could not be delivered through a channel; the message says nothing of the channel's secret address."""

    exit_code = 69


class StoreBusy(BouncefilerError):
    """Another bouncefiler is at work on the same account; the message says which process."""

    exit_code = 75


class StoreBroken(BouncefilerError):
    """The state file is damaged, from another version, or cannot be written: nothing is moved without it."""

    exit_code = 74


class OutputRefused(BouncefilerError):
    """What was asked for cannot be put where it was asked for (EX_CANTCREAT); nothing there was touched."""

    exit_code = 73


class BrakePulled(BouncefilerError):
    """The user's own rules would move an unusual share of a folder."""

    exit_code = 75
