"""The configuration file: TOML → Settings, with errors that name the file, the key and what is expected.

Only this module knows pydantic, and google-re2 for the patterns of the user's rules. Plain frozen data leaves it. An
error shows a value only where no password can have got by mistake.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from bouncefiler.backscatter.domains import domain_name
from bouncefiler.backscatter.volume import WatchPolicy
from bouncefiler.errors import ConfigError
from bouncefiler.filing.plan import Disposition, File, FilingPolicy, Leave
from bouncefiler.recognition.verdict import Cause, Kind
from bouncefiler.settings import (
    NOTIFY_ENTRY,
    Account,
    Command,
    Compress,
    CredentialSource,
    EnvironmentVariable,
    KeyringEntry,
    Security,
    Server,
    Settings,
    SystemdCredential,
    TokenCommand,
)

if TYPE_CHECKING:
    from bouncefiler.recognition.rule import Pattern, Rule

SYSTEM_FILE = Path("/etc/bouncefiler/config.toml")

PORTS = {Security.TLS: 993, Security.STARTTLS: 143, Security.PLAIN: 143}
"""RFC 8314, 7.2 (imaps) and RFC 3501, 2.1 (imap)."""

CHANNELS = ("log", "inbox", "notify")

KINDS = tuple(kind for kind in Kind if kind not in (Kind.OTHER, Kind.IMITATION))
"""What can be filed: ordinary mail never is, and an imitation stays where its reader is warned."""

EMPTIED = frozenset(
    {"trash", "bin", "junk", "spam", "deleted items", "deleted messages", "junk email", "junk e-mail", "bulk mail"}
    | {"[gmail]/trash", "[gmail]/bin", "[gmail]/spam"}
)
"""Folders that servers empty by themselves: what is filed there is lost."""

MAX_FOLDER_CHARS = 200
MAX_NAME_CHARS = 60


# --- finding the file ------------------------------------------------------------------------------------------------


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read the configuration at `path`, or else where it is usually kept.

    Raises ConfigError: its first line names file, key and what is expected, further lines what else is wrong.
    """
    found = path or _find(environ)
    table = _parse(_read(found), found)
    try:
        file = _File.model_validate(table)
    except ValidationError as exc:
        problems = sorted(dict.fromkeys(map(_problem, exc.errors(include_url=False))), key=_urgency)
        raise ConfigError("\n".join(f"{found}: {problem}" for problem in problems)) from None
    return _settings(file, found, environ)


def candidates(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return where the configuration is looked for, in this order (XDG Base Directory Specification)."""
    config_home = _base_directory("XDG_CONFIG_HOME", ".config", environ)
    own = (config_home / "bouncefiler" / "config.toml",) if config_home else ()
    return (*own, SYSTEM_FILE)


def _base_directory(variable: str, default: str, environ: Mapping[str, str]) -> Path | None:
    """Return an XDG directory; a relative one is to be ignored, says the specification."""
    path = Path(environ.get(variable, ""))
    if path.is_absolute():
        return path
    home = environ.get("HOME")
    return Path(home) / default if home else None


def _find(environ: Mapping[str, str]) -> Path:
    places = candidates(environ)
    for place in places:
        if os.path.lexists(place):
            return place
    looked = " nor at ".join(map(str, places))
    raise ConfigError(
        f"there is no configuration at {looked}: copy config.example.toml to {places[0]} and fill in its three lines, "
        "or name your file with --config"
    )


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            # It may name a command to run (password_from), so whoever may write it could run one.
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & stat.S_IWOTH:
                raise ConfigError(
                    f"{path}: everybody on this machine may write this file; say `chmod o-w {path}` first"
                )
            return file.read().decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: not UTF-8 text (at octet {exc.start}): save it as UTF-8") from None
    except OSError as exc:
        hint = "; let the user that bouncefiler runs as read it (`chmod`)" if isinstance(exc, PermissionError) else ""
        raise ConfigError(f"{path}: cannot be read: {exc.strerror or type(exc).__name__}{hint}") from None


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        what, _, where = str(exc).partition(" (at ")
        place = f"{where.rstrip(')')}: " if where else ""
        raise ConfigError(f"{path}: {place}not TOML: {what[:1].lower()}{what[1:]}") from None


# --- single values ---------------------------------------------------------------------------------------------------
# A validator either returns the value or raises ValueError with words that follow the key.


def _line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("expected text without line breaks or control characters")
    return text


def _host(text: str) -> str:
    if "://" in text:
        raise ValueError("expected the server's name alone, without imaps://")
    if _is_address(text):
        return text
    if re.fullmatch(r".*:\d+", text):
        raise ValueError("expected the server's name alone; write the port as port = …")
    if not re.fullmatch(r"\w[\w.-]{0,252}", text):
        raise ValueError('expected the name of the IMAP server, such as "imap.example.org"')
    return text


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _fingerprint(text: str) -> str:
    digits = re.sub(r"[:\s]", "", text.rpartition("=")[2]).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise ValueError(
            "expected the SHA-256 of the server's certificate, 64 hex digits; "
            "`openssl x509 -noout -fingerprint -sha256` prints it"
        )
    return digits


def _folder(name: str) -> str:
    """Return a name that every server takes: RFC 3501, 5.1 warns of wildcards and control characters."""
    if not name.strip() or name != name.strip():
        raise ValueError("expected the name of a folder, without blanks around it")
    if not name.isprintable():
        raise ValueError("a folder's name cannot have control characters")
    if found := next((mark for mark in "%*" if mark in name), None):
        raise ValueError(f'a folder\'s name cannot have a "{found}": it is a wildcard to the server')
    if name.startswith("/") or name.endswith("/") or "//" in name:
        raise ValueError('a "/" in a folder\'s name stands between two names, such as "Bounces/Full"')
    if len(name) > MAX_FOLDER_CHARS:
        raise ValueError(f"a folder's name can have {MAX_FOLDER_CHARS} characters, this one has {len(name)}")
    return "INBOX" if name.upper() == "INBOX" else name  # RFC 3501, 5.1: INBOX in any case


def _target(name: str) -> str:
    folder = _folder(name)
    if folder == "INBOX":
        raise ValueError("bounces are filed out of INBOX, so they can't be filed there: name another folder")
    if folder.lower() in EMPTIED:
        raise ValueError(f"{folder!r} is emptied by the server after a while, so bounces would be lost: name another")
    return folder


_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def _address(text: str) -> str:
    local, _, domain = _line(text).strip().rpartition("@")
    if not local or domain_name(domain) is None:
        raise ValueError(f'{text!r} is no address, such as "ana@example.org"')
    return f"{local}@{domain}".lower()


def _domain(text: str) -> str:
    name = domain_name(_line(text))
    if name is None:
        raise ValueError(f'{text!r} is no domain, such as "shop.example.org"')
    return name


def _duration(least: float, most: float) -> Callable[[object], timedelta]:
    def validate(value: object) -> timedelta:
        seconds = _seconds(value)
        if seconds is None:
            raise ValueError(f'expected a duration such as "5m", got {_shape(value)}')
        if not least <= seconds <= most:
            raise ValueError(f"expected a duration from {_spell(least)} to {_spell(most)}")
        return timedelta(seconds=seconds)

    return validate


def _seconds(value: object) -> float | None:
    match value:
        case bool():
            return None
        case int() | float():
            return float(value)
        case str() if found := re.fullmatch(r"\s*(\d{1,9})\s*([smhdw])\s*", value):
            return int(found[1]) * _UNITS[found[2]]
        case _:
            return None


def _spell(seconds: float) -> str:
    unit = max((u for u in _UNITS if seconds % _UNITS[u] == 0), key=lambda u: _UNITS[u])
    return f'"{seconds / _UNITS[unit]:g}{unit}"'


def _one_of(words: Iterable[str]) -> Callable[[object], str]:
    known = tuple(words)

    def validate(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f"expected {_alternatives(known)}, got {_shape(value)}")  # noqa: TRY004 - pydantic wants it
        if value not in known:
            raise ValueError(f"expected {_alternatives(known)}, got {value!r}{_hint(value, known)}")
        return value

    return validate


def _alternatives(words: Sequence[str]) -> str:
    quoted = [f'"{word}"' for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def _language(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z]{2,3}(?:[-_][A-Za-z]{2,4})?", text):
        raise ValueError('expected the code of a language, such as "en" or "pt"')
    return text


def _channel(value: object) -> str:
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z_-]{1,20}", value):  # shown only if it can be no secret
        raise ValueError(_NO_URL)
    return _one_of(CHANNELS)(value)


def _notify_source(value: object) -> CredentialSource:
    match value:
        case "keyring":
            return NOTIFY_ENTRY
        case str() if "://" in value:
            raise ValueError(_NO_URL)
        case _:
            return _credential(value)


def _credential(value: object) -> CredentialSource:
    """Read a secret's source. No value is shown: somebody may have written the secret itself."""
    match value:
        case "keyring":
            return KeyringEntry()
        case {"systemd": str(name), **rest} if not rest and re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}", name):
            return SystemdCredential(name)
        case {"command": [str(first), *_] as argv, **rest} if (
            not rest and first and all(isinstance(a, str) and "\0" not in a for a in argv)
        ):
            return Command(tuple(argv))
        case {"environment": str(name), **rest} if not rest and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            return EnvironmentVariable(name)
        case {"command": str()}:
            raise ValueError('command: expected a list such as ["pass", "show", "mail"]: no shell takes it apart')
        case _:
            raise ValueError(
                'expected "keyring", { systemd = "NAME" }, { command = ["PROGRAM", "ARGUMENT"] } '
                'or { environment = "VARIABLE" }'
            )


def _token_source(value: object) -> TokenCommand:
    """Read where tokens come from. They are good for an hour or so, thus only a program can give them."""
    try:
        source = _credential(value)
    except ValueError:
        source = None
    if not isinstance(source, Command):
        expected = 'expected a program that prints access tokens: { command = ["PROGRAM", "ARGUMENT"] }'
        raise ValueError(expected)  # noqa: TRY004 - pydantic wants it
    return TokenCommand(source.argv)


def _shape(value: object) -> str:
    """Say what kind of value it is; a text's content might be a password."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return "a text"
        case int() | float():
            return f"{value}"
        case list():
            return "a list"
        case dict():
            return "a table"
        case _:
            return "a date"


# --- the file --------------------------------------------------------------------------------------------------------
# A field's description is what an error says is expected there. Defaults are those of `settings`, not repeated here.

_SERVER = Server("", 0, "")
_ACCOUNT = Account("", _SERVER, KeyringEntry())
_FILING, _WATCH = _ACCOUNT.filing, _ACCOUNT.watch

Line = Annotated[str, AfterValidator(_line)]
Folder = Annotated[str, AfterValidator(_folder)]
Target = Annotated[str, AfterValidator(_target)]
Language = Annotated[str, AfterValidator(_language)]
Channel = Annotated[str, PlainValidator(_channel)]
KindWord = Annotated[str, PlainValidator(_one_of(KINDS))]
CauseWord = Annotated[str, PlainValidator(_one_of(Cause))]

_A_LANGUAGE = 'the code of a language, such as "en"'


class _Table(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Alert(_Table):
    channels: list[Channel] = Field(
        default=list(_ACCOUNT.alert_channels), description='a list such as ["log", "inbox"]'
    )
    threshold: int | None = Field(
        default=_WATCH.threshold, ge=1, le=1_000_000, description="a number of bounces a day, 1 or more"
    )
    renotify: Annotated[timedelta, PlainValidator(_duration(600, 30 * 86_400))] = _WATCH.renotify
    language: Language | None = Field(default=None, description=_A_LANGUAGE)
    notify_from: Annotated[CredentialSource, PlainValidator(_notify_source)] = NOTIFY_ENTRY


class _Account(_Table):
    host: Annotated[str, AfterValidator(_host)] = Field(
        description='the name of the IMAP server, such as "imap.example.org"'
    )
    port: int | None = Field(default=None, ge=1, le=65_535, description="a number from 1 to 65535")
    security: Annotated[str, PlainValidator(_one_of(Security))] = _SERVER.security.value
    ca_file: Line | None = Field(default=None, description="the path of a PEM file")
    fingerprint: Annotated[str, AfterValidator(_fingerprint)] | None = Field(default=None, description="64 hex digits")
    user: Line = Field(description='the user name at the server, such as "you@example.org"')
    password_from: Annotated[CredentialSource, PlainValidator(_credential)] = KeyringEntry()
    token_from: Annotated[TokenCommand | None, PlainValidator(_token_source)] = None
    folders: list[Folder] = Field(
        list(_ACCOUNT.folders), min_length=1, description='a list of folders, such as ["INBOX"]'
    )
    bounce_folder: Target = Field(default=_FILING.bounce_folder, description='the name of a folder, such as "Bounces"')
    cause_folders: dict[CauseWord, Target] = Field(
        default={}, description='a table such as { mailbox-full = "Bounces/Full" }'
    )
    kinds: list[KindWord] = Field(default=sorted(_FILING.kinds), description='a list such as ["failed", "delayed"]')
    poll_interval: Annotated[timedelta, PlainValidator(_duration(30, 7 * 86_400))] = _ACCOUNT.poll_interval
    idle: bool = Field(default=_ACCOUNT.idle, description="true or false")
    timeout: Annotated[timedelta, PlainValidator(_duration(1, 600))] = timedelta(seconds=_SERVER.timeout)
    compress: Annotated[str, PlainValidator(_one_of(Compress))] = _SERVER.compress.value
    alert: _Alert = Field(default=_Alert(), description="a table")
    addresses: list[Annotated[str, AfterValidator(_address)]] = Field(
        default=[], description='a list of addresses, such as ["ana@example.org"]'
    )
    also_sends: list[Annotated[str, AfterValidator(_domain)]] = Field(
        default=[], description='a list of domains, such as ["shop.example.org"]'
    )
    sent_folders: list[Folder] = Field(
        default=list(_ACCOUNT.sent_folders), description='a list of folders, such as ["Sent"]'
    )
    drafts_folder: Folder | None = Field(default=None, description='the name of a folder, such as "Drafts"')


class _File(_Table):
    state_dir: Line | None = Field(default=None, description="the path of a directory")
    language: Language | None = Field(default=None, description=_A_LANGUAGE)
    dns: bool = Field(default=True, description="true or false")
    accounts: dict[str, _Account] = Field(
        min_length=1, description="at least one table [accounts.NAME] with host and user"
    )
    rule: list[dict[str, Any]] = Field(default=[], description="tables [[rule]]")


def _settings(file: _File, path: Path, environ: Mapping[str, str]) -> Settings:
    if problems := [*_account_problems(file), *_rule_problems(file)]:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in problems))
    tables = [{key: value for key, value in table.items() if key != "accounts"} for table in file.rule]
    rules = _rules(tables, path) if tables else ()
    return Settings(
        path,
        {name: _account(name, account, file, path, environ) for name, account in file.accounts.items()},
        _state_dir(file, path, environ),
        file.language,
        rules,
        {table["name"]: frozenset(table["accounts"]) for table in file.rule if "accounts" in table},
        file.dns,
    )


def _rules(tables: Sequence[Mapping[str, Any]], path: Path) -> tuple[Rule, ...]:
    from bouncefiler.recognition import rulebook  # noqa: PLC0415 - most have no rules of their own

    return rulebook.user_rules(tables, str(path), _linear_patterns(tables, path))


def _account(name: str, table: _Account, file: _File, path: Path, environ: Mapping[str, str]) -> Account:
    security = Security(table.security)
    return Account(
        name,
        Server(
            table.host,
            table.port or PORTS[security],
            table.user,
            security,
            _ca_file(name, table.ca_file, path, environ),
            table.fingerprint,
            table.timeout.total_seconds(),
            Compress(table.compress),
            oauth=table.token_from is not None,
        ),
        table.token_from or table.password_from,
        tuple(table.folders),
        table.poll_interval,
        FilingPolicy(
            table.bounce_folder,
            frozenset(map(Kind, table.kinds)),
            {Cause(cause): folder for cause, folder in table.cause_folders.items()},
            _routes(file.rule, name),
        ),
        WatchPolicy(table.alert.threshold, table.alert.renotify),
        tuple(table.alert.channels),
        table.alert.language or file.language,
        tuple(table.sent_folders),
        addresses=tuple(table.addresses),
        also_sends=tuple(table.also_sends),
        drafts_folder=table.drafts_folder,
        notify_from=table.alert.notify_from,
        idle=table.idle,
    )


def _ca_file(account: str, text: str | None, path: Path, environ: Mapping[str, str]) -> Path | None:
    if text is None:
        return None
    found = _path_of(text, path, environ)
    if not found.is_file():
        raise ConfigError(f"{path}: accounts.{account}.ca_file: there is no file {found}")
    return found


def _state_dir(file: _File, path: Path, environ: Mapping[str, str]) -> Path:
    """Return where to keep state: as configured, else systemd's StateDirectory=, else the XDG directory."""
    if file.state_dir is not None:
        return _path_of(file.state_dir, path, environ)
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    home = _base_directory("XDG_STATE_HOME", ".local/state", environ)
    if home is None:
        raise ConfigError(
            f"{path}: state_dir: missing, and neither $STATE_DIRECTORY nor $HOME says where state is kept"
        )
    return home / "bouncefiler"


def _path_of(text: str, path: Path, environ: Mapping[str, str]) -> Path:
    """Return a path of the file's: "~/" is the home directory, and a relative one starts beside the file."""
    if text.startswith("~/") and (home := environ.get("HOME")):
        return Path(home) / text[2:]
    return path.absolute().parent / text


# --- what must fit together ------------------------------------------------------------------------------------------


def _account_problems(file: _File) -> Iterator[str]:
    for name, account in file.accounts.items():
        at = f"accounts.{_key(name)}"
        if not re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_NAME_CHARS - 1}}}", name):
            yield f"{at}: an account's name is made of letters, digits, dots, dashes and underscores: it names files"
        if account.security == Security.PLAIN and not _is_loopback(account.host):
            yield f'{at}.security: "plain" would send the password in clear: only for localhost; take "tls"'
        if account.token_from and "password_from" in account.model_fields_set:
            yield f"{at}: password_from and token_from exclude each other: leave one out"
        if twice := next((folder for folder in account.folders if account.folders.count(folder) > 1), None):
            yield f"{at}.folders: {twice!r} is there twice"
        if account.bounce_folder in account.folders:
            yield f"{at}.bounce_folder: {account.bounce_folder!r} is among the watched folders; name another"
        for cause, folder in account.cause_folders.items():
            if folder in account.folders:
                yield f"{at}.cause_folders.{cause}: {folder!r} is among the watched folders; name another"
        if "notify" in account.alert.channels and find_spec("apprise") is None:
            yield (
                f"{at}.alert.channels: \"notify\" needs apprise: `pip install 'bouncefiler[notify]'`, or "
                "`pipx inject bouncefiler apprise` where pipx has installed it"
            )


def _rule_problems(file: _File) -> Iterator[str]:
    for number, table in enumerate(file.rule, 1):
        name = table.get("name")
        at = f'rule {number} "{_shown(name)}"' if isinstance(name, str) else f"rule {number}"
        if isinstance(name, str) and (not name.isprintable() or len(name) > MAX_NAME_CHARS):
            yield f"{at}: name: expected up to {MAX_NAME_CHARS} characters, none of them a control character"
        yield from (f"{at}: {problem}" for problem in _accounts_problems(table, file))
        if isinstance(then := table.get("then"), dict):
            watched = {folder for account in file.accounts.values() for folder in account.folders}
            yield from (f"{at}: then{problem}" for problem in _then_problems(then, watched))
        elif then is None:
            yield f'{at}: then: missing: say what follows, such as then = {{ cause = "policy" }}'


def _shown(name: str) -> str:
    return "".join(char for char in name[:40] if char.isprintable())


def _accounts_problems(table: Mapping[str, Any], file: _File) -> Iterator[str]:
    match table.get("accounts"):
        case None:
            pass
        case [*names] if names and all(isinstance(name, str) for name in names):
            for name in names:
                if name not in file.accounts:
                    hint = _hint(name, file.accounts) or f" (there is: {', '.join(file.accounts)})"
                    yield f"accounts: there is no [accounts.{_key(name)}]{hint}"
        case _:
            yield 'accounts: expected a list of account names, such as ["home"]'


def _then_problems(then: Mapping[str, Any], watched: Iterable[str]) -> Iterator[str]:
    if not then:
        yield ": empty: say what follows: kind, cause, file_to or leave"
    if "file_to" in then and "leave" in then:
        yield ": file_to and leave contradict each other: keep one"
    if "leave" in then and then["leave"] is not True:
        yield f".leave: expected true, got {_shape(then['leave'])}"
    if "file_to" in then and (problem := _file_to_problem(then["file_to"], watched)):
        yield f".file_to: {problem}"


def _file_to_problem(folder: object, watched: Iterable[str]) -> str | None:
    if not isinstance(folder, str):
        return f"expected the name of a folder, got {_shape(folder)}"
    try:
        target = _target(folder)
    except ValueError as exc:
        return str(exc)
    return f"{target!r} is among the watched folders; name another" if target in watched else None


def _routes(tables: Sequence[Mapping[str, Any]], account: str) -> dict[str, Disposition]:
    routes: dict[str, Disposition] = {}
    for table in tables:
        if account not in table.get("accounts", (account,)):
            continue
        because = f"rule: {table['name']}"
        match table["then"]:
            case {"file_to": str(folder)}:
                routes[table["name"]] = File(folder, because, by_rule=True)
            case {"leave": True}:
                routes[table["name"]] = Leave(because)
    return routes


# --- patterns of the user's rules ------------------------------------------------------------------------------------


class _LinearPattern:
    """A pattern whose search takes time linear in the text (RE2), so that no mail can hang the service with it."""

    __slots__ = ("_pattern",)

    def __init__(self, pattern: Any) -> None:
        self._pattern = pattern

    def search(self, text: str, /) -> Any:
        """Find the pattern in `text`; RE2 works on UTF-8, which has no lone surrogates."""
        return self._pattern.search(text.encode("utf-8", "replace").decode("utf-8"))


def _linear_patterns(tables: Sequence[Mapping[str, Any]], path: Path) -> Callable[[str], Pattern]:
    """Return what compiles the patterns of the rules. Raises ConfigError when there are some, but no google-re2."""
    users = [number for number, table in enumerate(tables, 1) if _has_pattern(table)]
    if not users:
        return re.compile
    try:
        import re2  # noqa: PLC0415 - for rules with patterns only, and only where it is installed
    except ImportError:
        raise ConfigError(
            f"{path}: rule {users[0]}: matches: patterns need google-re2, which no mail can make hang: "
            "`pip install 'bouncefiler[patterns]'`, or say it with contains, starts or is"
        ) from None
    return _compile_with(re2)


def _has_pattern(table: Mapping[str, Any]) -> bool:
    conditions = [table.get("when"), table.get("unless")]
    fields = [field for condition in conditions if isinstance(condition, dict) for field in condition.values()]
    return any(isinstance(field, dict) and "matches" in field for field in fields)


def _compile_with(re2: Any) -> Callable[[str], Pattern]:
    options = re2.Options()
    options.log_errors = False  # it would write to standard error by itself

    def compile_pattern(source: str) -> Pattern:
        try:
            return _LinearPattern(re2.compile(source, options))
        except re2.error as exc:
            why = exc.args[0] if exc.args else ""
            raise ValueError(why.decode("utf-8", "replace") if isinstance(why, bytes) else str(why)) from None

    return compile_pattern


# --- what is wrong ---------------------------------------------------------------------------------------------------


def _problem(error: Any) -> str:
    """Put one error of pydantic's into words: the key, and what is expected there."""
    keys = tuple(key for key in error["loc"] if key != "[key]")
    table, name = _field(keys)
    expected = f"expected {table.model_fields[name].description if name in table.model_fields else 'a table'}"
    match error["type"]:
        case "extra_forbidden":
            text = _unknown(keys, table)
        case "missing":
            text = f"missing: {expected}"
        case "too_short":
            text = expected
        case "value_error":
            text = str(error["ctx"]["error"]).replace("{account}", str(keys[1]) if len(keys) > 1 else "NAME")
        case _:
            text = f"{'expected text' if isinstance(keys[-1], int) else expected}, got {_shape(error['input'])}"
    return f"{_path(keys)}: {text}"


def _unknown(keys: Sequence[str | int], table: type[_Table]) -> str:
    key = str(keys[-1])
    if _is_password(key):
        return f"a password has no place in this file: {_INSTEAD.format(account=keys[1] if len(keys) > 2 else 'NAME')}"
    if table is _Alert and re.search(r"(?i)ur[li]|apprise|://", key):
        return _NO_URL.format(account=keys[1])
    if table is _File and key in _Account.model_fields:
        return "unknown key here; it belongs under [accounts.NAME]"
    return f"unknown key{_hint(key, table.model_fields)}"


_NO_URL = (
    'the URL of a notification is a secret, and has no place in this file: write "notify" among the channels, take the '
    "URL out, and let `bouncefiler login {account} --notify` ask for it and keep it in your keyring, or say with "
    "notify_from where it is kept"
)

_INSTEAD = (
    "take it out, and let `bouncefiler login {account}` ask for it and keep it in your keyring, "
    "or say with password_from where it is kept"
)


def _is_password(key: str) -> bool:
    return re.search(r"(?i)passw|passphrase|secret|token", key) is not None


def _urgency(problem: str) -> int:
    """Put a password first, then keys that are not known: a missing one may be among them, misspelt."""
    return next(
        (place for place, words in enumerate(("a password has", "is a secret", "unknown key")) if words in problem), 3
    )


def _path(keys: Sequence[str | int]) -> str:
    parts = [f" item {key + 1}" if isinstance(key, int) else f".{_key(key)}" for key in keys if "://" not in str(key)]
    return "".join(parts).lstrip(".")


def _key(key: str) -> str:
    """Write a key as TOML does, bare where it can be."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else repr(key)


def _field(keys: Sequence[str | int]) -> tuple[type[_Table], str]:
    """Return the table that the keys lead into, and which of its fields; no field where they end at a table."""
    match keys:
        case ["accounts", str(), "alert", str(name), *_]:
            return _Alert, name
        case ["accounts", str(), str(name), *_]:
            return _Account, name
        case ["accounts", str()]:
            return _Account, ""
        case [str(name), *_]:
            return _File, name
        case _:
            return _File, ""


def _hint(word: str, known: Iterable[str]) -> str:
    near = get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""
