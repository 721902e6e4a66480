"""The configuration: what it takes, where it is found, and that each mistake is named with what is expected there."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bouncefiler.backscatter.volume import WatchPolicy
from bouncefiler.config import SYSTEM_FILE, candidates, load
from bouncefiler.errors import ConfigError
from bouncefiler.filing.plan import File, FilingPolicy, Leave
from bouncefiler.recognition.rule import Facts
from bouncefiler.recognition.verdict import Cause, Kind
from bouncefiler.settings import (
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

EXAMPLE = Path(__file__).parent.parent / "config.example.toml"
HOME = {"HOME": "/home/ana"}
SECRET = "hunter2"

LEAST = """
[accounts.home]
host = "imap.example.org"
user = "ana@example.org"
"""


def settings(tmp_path: Path, text: str, environ: Mapping[str, str] = HOME) -> Settings:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, environ)


def home(tmp_path: Path, *lines: str) -> Account:
    return settings(tmp_path, LEAST + "\n".join(lines)).accounts["home"]


def complaint(tmp_path: Path, text: str, environ: Mapping[str, str] = HOME) -> str:
    """Return the message without the file's name, which it must begin with."""
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, text, environ)
    assert caught.value.exit_code == 78
    lines = str(caught.value).splitlines()
    start = f"{tmp_path / 'config.toml'}: "
    assert all(line.startswith(start) for line in lines)
    return "\n".join(line.removeprefix(start) for line in lines)


def test_two_lines_are_enough(tmp_path: Path) -> None:
    """All else has the defaults of `settings`."""

    server = Server("imap.example.org", 993, "ana@example.org")
    assert home(tmp_path) == Account("home", server, KeyringEntry())


def test_every_key_arrives(tmp_path: Path) -> None:
    """Each in its place."""

    (tmp_path / "ca.pem").touch()
    found = settings(
        tmp_path,
        """
        language = "pt"
        state_dir = "~/state"
        dns = false
        [accounts.work]
        host = "mail.example.net"
        port = 1143
        security = "starttls"
        ca_file = "ca.pem"
        fingerprint = "AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99"
        user = "ana"
        password_from = { environment = "WORK" }
        folders = ["INBOX", "Lists/Ação"]
        bounce_folder = "INBOX/Bounces"
        cause_folders = { mailbox-full = "INBOX/Bounces/Full" }
        kinds = ["failed", "autoreply"]
        sent_folders = ["Itens enviados"]
        addresses = ["Ana@Example.org", "a@münchen.example"]
        also_sends = ["Shop.example.net."]
        drafts_folder = "Rascunhos"
        poll_interval = "1h"
        idle = false
        timeout = 20
        compress = "never"
        [accounts.work.alert]
        channels = ["log"]
        threshold = 25
        renotify = "1d"
        language = "en"
        notify_from = { environment = "CHAT" }
        """,
    )
    server = Server(
        "mail.example.net",
        1143,
        "ana",
        Security.STARTTLS,
        tmp_path / "ca.pem",
        "aabbccddeeff00112233445566778899" * 2,
        20.0,
        Compress.NEVER,
    )
    filing = FilingPolicy(
        "INBOX/Bounces", frozenset({Kind.FAILED, Kind.AUTOREPLY}), {Cause.MAILBOX_FULL: "INBOX/Bounces/Full"}
    )
    watch = WatchPolicy(25, timedelta(days=1))
    account = Account(
        "work",
        server,
        EnvironmentVariable("WORK"),
        ("INBOX", "Lists/Ação"),
        timedelta(hours=1),
        filing,
        watch,
        ("log",),
        "en",
        ("Itens enviados",),
        addresses=("ana@example.org", "a@münchen.example"),
        also_sends=("shop.example.net",),
        drafts_folder="Rascunhos",
        notify_from=EnvironmentVariable("CHAT"),
        idle=False,
    )
    assert found == Settings(tmp_path / "config.toml", {"work": account}, Path("/home/ana/state"), "pt", dns=False)
    assert found.secret_variables == {"WORK", "CHAT"}


@pytest.mark.parametrize(("security", "port"), [("tls", 993), ("starttls", 143), ("plain", 143)])
def test_the_port_follows_from_the_security(tmp_path: Path, security: str, port: int) -> None:
    """Unless it is said."""

    text = LEAST.replace("imap.example.org", "127.0.0.1") + f'security = "{security}"\n'
    assert settings(tmp_path, text).accounts["home"].server.port == port
    assert settings(tmp_path, f"{text}port = 1\n").accounts["home"].server.port == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_plain_is_for_loopback(tmp_path: Path, host: str) -> None:
    """There nobody listens in."""

    text = LEAST.replace("imap.example.org", host) + 'security = "plain"\n'
    assert settings(tmp_path, text).accounts["home"].server.security is Security.PLAIN


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ('"keyring"', KeyringEntry()),
        ('{ systemd = "imap-home" }', SystemdCredential("imap-home")),
        ('{ command = ["pass", "show", "x"] }', Command(("pass", "show", "x"))),
        ('{ environment = "HOME_PW" }', EnvironmentVariable("HOME_PW")),
    ],
)
def test_a_password_has_one_of_four_sources(tmp_path: Path, text: str, source: CredentialSource) -> None:
    """Named, never guessed."""

    assert home(tmp_path, f"password_from = {text}").credential == source


def test_tokens_come_from_a_program(tmp_path: Path) -> None:
    """They are good for an hour: nothing else could give a fresh one."""
    account = home(tmp_path, 'token_from = { command = ["oama", "access", "ana"] }')

    assert account.credential == TokenCommand(("oama", "access", "ana"))
    assert account.server.oauth
    assert not home(tmp_path, 'password_from = { command = ["oama", "access", "ana"] }').server.oauth


@pytest.mark.parametrize(
    ("text", "seconds"), [('"30s"', 30), ('"5m"', 300), ('"2h"', 7200), ('"1d"', 86400), ("90", 90), ("60.5", 60.5)]
)
def test_durations_are_words_or_seconds(tmp_path: Path, text: str, seconds: float) -> None:
    """As a person writes them."""

    assert home(tmp_path, f"poll_interval = {text}").poll_interval == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["ab" * 32, "AB" * 32, ":".join(["aB"] * 32), "sha256 Fingerprint=" + ":".join(["AB"] * 32)]
)
def test_a_fingerprint_is_taken_as_tools_print_it(tmp_path: Path, text: str) -> None:
    """With colons, in capitals, or as the whole line of openssl's."""

    assert home(tmp_path, f'fingerprint = "{text}"').server.fingerprint == "ab" * 32


def test_an_international_host_name_is_taken(tmp_path: Path) -> None:
    """The socket knows what to do with it."""

    assert settings(tmp_path, LEAST.replace("imap.", "büro.")).accounts["home"].server.host == "büro.example.org"


def test_an_alert_speaks_the_language_of_all(tmp_path: Path) -> None:
    """Unless it has one of its own."""

    assert settings(tmp_path, f'language = "pt"\n{LEAST}').accounts["home"].language == "pt"


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('bounce_foldr = "x"', "accounts.home.bounce_foldr: unknown key (did you mean bounce_folder?)"),
        ("poll_interval = true", 'accounts.home.poll_interval: expected a duration such as "5m", got true'),
        ('poll_interval = "often"', 'accounts.home.poll_interval: expected a duration such as "5m", got a text'),
        ('idle = "no"', "accounts.home.idle: expected true or false, got a text"),
        ('poll_interval = "10s"', 'accounts.home.poll_interval: expected a duration from "30s" to "1w"'),
        ("timeout = 0", 'accounts.home.timeout: expected a duration from "1s" to "10m"'),
        ("timeout = nan", 'accounts.home.timeout: expected a duration from "1s" to "10m"'),
        ('port = "993"', "accounts.home.port: expected a number from 1 to 65535, got a text"),
        ("port = 0", "accounts.home.port: expected a number from 1 to 65535, got 0"),
        ("port = true", "accounts.home.port: expected a number from 1 to 65535, got true"),
        ('security = "ssl"', 'accounts.home.security: expected "tls", "starttls" or "plain", got \'ssl\''),
        ("compress = true", 'accounts.home.compress: expected "auto", "always" or "never", got true'),
        ('security = "startls"', "got 'startls' (did you mean starttls?)"),
        ('security = "plain"', 'accounts.home.security: "plain" would send the password in clear: only for localhost'),
        ('ca_file = "none.pem"', "accounts.home.ca_file: there is no file "),
        ('fingerprint = "AA:BB"', "accounts.home.fingerprint: expected the SHA-256 of the server's certificate"),
        ("folders = []", 'accounts.home.folders: expected a list of folders, such as ["INBOX"]'),
        ('folders = "INBOX"', 'accounts.home.folders: expected a list of folders, such as ["INBOX"], got a text'),
        ("folders = [1]", "accounts.home.folders item 1: expected text, got 1"),
        ('folders = ["a", "b*"]', 'accounts.home.folders item 2: a folder\'s name cannot have a "*"'),
        ('folders = ["INBOX", "inbox"]', "accounts.home.folders: 'INBOX' is there twice"),
        ('bounce_folder = ""', "accounts.home.bounce_folder: expected the name of a folder"),
        ('bounce_folder = "/a"', 'accounts.home.bounce_folder: a "/" in a folder\'s name stands between two names'),
        ('bounce_folder = "a/"', 'accounts.home.bounce_folder: a "/" in a folder\'s name stands between two names'),
        ('bounce_folder = "a%b"', 'accounts.home.bounce_folder: a folder\'s name cannot have a "%"'),
        ('bounce_folder = "a\\nb"', "accounts.home.bounce_folder: a folder's name cannot have control characters"),
        ('bounce_folder = "a\\u202Eb"', "accounts.home.bounce_folder: a folder's name cannot have control characters"),
        (f'bounce_folder = "{"x" * 201}"', "accounts.home.bounce_folder: a folder's name can have 200 characters"),
        ('bounce_folder = "Inbox"', "accounts.home.bounce_folder: bounces are filed out of INBOX"),
        ('bounce_folder = "Trash"', "accounts.home.bounce_folder: 'Trash' is emptied by the server after a while"),
        ('folders = ["B"]\nbounce_folder = "B"', "accounts.home.bounce_folder: 'B' is among the watched folders"),
        ('cause_folders = { mailbox-ful = "x" }', 'expected "mailbox-full", "user-unknown"'),
        ('cause_folders = { mailbox-ful = "x" }', "got 'mailbox-ful' (did you mean mailbox-full?)"),
        ('cause_folders = { policy = "INBOX" }', "accounts.home.cause_folders.policy: bounces are filed out of INBOX"),
        (
            'folders = ["B"]\ncause_folders = { policy = "B" }',
            "accounts.home.cause_folders.policy: 'B' is among the watched folders",
        ),
        ('addresses = ["ana"]', "accounts.home.addresses item 1: 'ana' is no address"),
        ('addresses = ["ana@example"]', "accounts.home.addresses item 1: 'ana@example' is no address"),
        ('also_sends = ["https://x.example"]', "accounts.home.also_sends item 1: 'https://x.example' is no domain"),
        ('kinds = ["fail"]', 'accounts.home.kinds item 1: expected "failed", "delayed"'),
        ('kinds = ["imitation"]', "accounts.home.kinds item 1: expected"),
        ('kinds = ["other"]', "accounts.home.kinds item 1: expected"),
        ('alert = { chanels = ["log"] }', "accounts.home.alert.chanels: unknown key (did you mean channels?)"),
        (
            'alert = { channels = ["sms"] }',
            'accounts.home.alert.channels item 1: expected "log", "inbox" or "notify", got \'sms\'',
        ),
        (
            "alert = { threshold = 0 }",
            "accounts.home.alert.threshold: expected a number of bounces a day, 1 or more, got 0",
        ),
        ("alert = { renotify = 1 }", 'accounts.home.alert.renotify: expected a duration from "10m" to "30d"'),
        ('alert = { language = "p" }', "accounts.home.alert.language: expected the code of a language"),
        ('alert = "log"', "accounts.home.alert: expected a table, got a text"),
        ("password_from = true", 'accounts.home.password_from: expected "keyring", { systemd = "NAME" }'),
        (
            'password_from = { command = "pass show x" }',
            'accounts.home.password_from: command: expected a list such as ["pass", "show", "mail"]: no shell',
        ),
        ('password_from = { systemd = "../x" }', 'accounts.home.password_from: expected "keyring"'),
        ('password_from = { environment = "A", systemd = "b" }', 'accounts.home.password_from: expected "keyring"'),
        ('password_from = { command = ["a", "b\\u0000"] }', 'accounts.home.password_from: expected "keyring"'),
        ("password_from = { command = [] }", 'accounts.home.password_from: expected "keyring"'),
        ("password_from = 1979-05-27", 'accounts.home.password_from: expected "keyring"'),
        (
            'token_from = "keyring"',
            'accounts.home.token_from: expected a program that prints access tokens: { command = ["PROGRAM"',
        ),
        (
            'token_from = { command = "oama access x" }',
            'accounts.home.token_from: expected a program that prints access tokens: { command = ["PROGRAM"',
        ),
        (
            'password_from = "keyring"\ntoken_from = { command = ["x"] }',
            "accounts.home: password_from and token_from exclude each other",
        ),
        ("ca_file = 1979-05-27", "accounts.home.ca_file: expected the path of a PEM file, got a date"),
    ],
)
def test_a_mistake_in_an_account_is_named(tmp_path: Path, lines: str, says: str) -> None:
    """With its key, what is expected there, and no traceback of pydantic's."""

    message = complaint(tmp_path, LEAST + lines)
    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "accounts: missing: expected at least one table [accounts.NAME] with host and user"),
        ("[accounts]", "accounts: expected at least one table [accounts.NAME] with host and user"),
        ("accounts = 3", "accounts: expected at least one table [accounts.NAME] with host and user, got 3"),
        ("[accounts]\nhome = 3", "accounts.home: expected a table, got 3"),
        (LEAST.replace("accounts", "account"), "account: unknown key (did you mean accounts?)\naccounts: missing"),
        (
            LEAST.replace("host", "hots"),
            "accounts.home.hots: unknown key (did you mean host?)\naccounts.home.host: missing",
        ),
        ('host = "x"' + LEAST, "host: unknown key here; it belongs under [accounts.NAME]"),
        (LEAST.replace("home", '"../home"'), "accounts.'../home': an account's name is made of letters"),
        (
            LEAST.replace("imap.example.org", "imaps://x"),
            "accounts.home.host: expected the server's name alone, without",
        ),
        (
            LEAST.replace("imap.example.org", "x.example:993"),
            "accounts.home.host: expected the server's name alone; write",
        ),
        (LEAST.replace("imap.example.org", "a b"), "accounts.home.host: expected the name of the IMAP server, such as"),
        (LEAST.replace("ana@example.org", "a\\r\\nb"), "accounts.home.user: expected text without line breaks"),
        ("language = 3" + LEAST, 'language: expected the code of a language, such as "en", got 3'),
        ('dns = "no"' + LEAST, "dns: expected true or false, got a text"),
        ("state_dir = 3" + LEAST, "state_dir: expected the path of a directory, got 3"),
        ("rule = 3" + LEAST, "rule: expected tables [[rule]], got 3"),
        ("a = \n", "line 1, column 5: not TOML: invalid value"),
        ("[accounts.home]\n[accounts.home]", "line 2, column 15: not TOML: cannot declare"),
        ("a = 1\na = 2\n", "line 2, column 6: not TOML: cannot overwrite a value"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    """Down to line and column where it is no TOML."""

    assert complaint(tmp_path, text).startswith(says)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    """One a line."""

    assert len(complaint(tmp_path, f"{LEAST}port = 0\ntimeout = 0\n").splitlines()) == 2


@pytest.mark.parametrize("key", ["password", "passwd", "imap_password", "secret", "access_token"])
@pytest.mark.parametrize("value", [f'"{SECRET}"', f'["{SECRET}"]', f'{{ x = "{SECRET}" }}'])
def test_a_password_is_refused_and_not_repeated(tmp_path: Path, key: str, value: str) -> None:
    """Before all other mistakes, and with where it belongs."""

    message = complaint(tmp_path, f"{LEAST}prot = 1\n{key} = {value}\n")
    assert message.startswith(f"accounts.home.{key}: a password has no place in this file: take it out, and let")
    assert "`bouncefiler login home`" in message
    assert SECRET not in message


@pytest.mark.parametrize(
    "line",
    [
        f'alert = {{ channels = ["log", "tgram://{SECRET}/1"] }}',
        f'alert = {{ channels = ["mailto:ana:{SECRET}@example.org"] }}',
        f'alert = {{ notify_from = "tgram://{SECRET}/1" }}',
        f'alert = {{ url = "tgram://{SECRET}/1" }}',
        f'alert = {{ notify_urls = ["tgram://{SECRET}/1"] }}',
        f'alert = {{ "tgram://{SECRET}/1" = true }}',
    ],
)
def test_the_url_of_a_notification_is_refused_and_not_repeated(tmp_path: Path, line: str) -> None:
    """Whoever has it can write to the person's chat."""

    message = complaint(tmp_path, f"{LEAST}prot = 1\n{line}\n")
    assert message.startswith("accounts.home.alert")
    assert "is a secret" in message.splitlines()[0]
    assert "`bouncefiler login home --notify`" in message
    assert SECRET not in message


def test_urls_are_kept_where_the_password_is_not(tmp_path: Path) -> None:
    """Each has an entry of its own in the keyring, whatever the user is called."""

    account = home(tmp_path, 'alert = { notify_from = "keyring" }')
    assert account.notify_from == home(tmp_path).notify_from == KeyringEntry("bouncefiler notify")
    assert account.credential == KeyringEntry("bouncefiler")


def test_a_channel_that_needs_apprise_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)

    message = complaint(tmp_path, f'{LEAST}alert = {{ channels = ["notify"] }}\n')
    assert message.startswith('accounts.home.alert.channels: "notify" needs apprise: `pip install')


@pytest.mark.parametrize(
    "text",
    [
        f'password = "{SECRET}"\n{LEAST}',
        f'{LEAST}password_from = "{SECRET}"',
        f'{LEAST}password_from = {{ password = "{SECRET}" }}',
        f'{LEAST}password_from = {{ command = "echo {SECRET}" }}',
        f'{LEAST}password_from = ["{SECRET}"]',
        f'{LEAST}port = "{SECRET}"',
        f'{LEAST}timeout = "{SECRET}"',
        f'{LEAST}fingerprint = "{SECRET}"',
        f'{LEAST}folders = "{SECRET}"',
        f'{LEAST}alert = "{SECRET}"',
        f'[accounts]\nhome = "{SECRET}"',
        f'[accounts.home]\nhost = "{SECRET}://"\nuser = "{SECRET}\\n"',
        f'password = "{SECRET}',
    ],
)
def test_no_message_repeats_what_may_be_a_password(tmp_path: Path, text: str) -> None:
    """Wherever it has got by mistake; nor does a traceback, which would show the cause."""

    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, text)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


RULE = """
[[rule]]
name = "tickets"
when = { reporting_mta = { is = ["mx.tickets.example"] } }
then = { cause = "policy", file_to = "Bounces/Tickets" }
"""


def test_a_rule_is_split_at_the_door(tmp_path: Path) -> None:
    """What it says of the message goes to recognition, where it files goes to filing; the name joins them."""

    found = settings(tmp_path, LEAST + RULE)
    assert [(rule.name, rule.cause) for rule in found.rules] == [("tickets", Cause.POLICY)]
    routes = found.accounts["home"].filing.routes
    assert routes == {"tickets": File("Bounces/Tickets", because="rule: tickets", by_rule=True)}


def test_a_rule_can_say_never_touch_these(tmp_path: Path) -> None:
    """It routes to Leave."""

    text = LEAST + RULE.replace('cause = "policy", file_to = "Bounces/Tickets"', "leave = true")
    assert settings(tmp_path, text).accounts["home"].filing.routes == {"tickets": Leave("rule: tickets")}


def test_a_rule_can_be_for_some_accounts_only(tmp_path: Path) -> None:
    """The others neither recognise nor file by it."""

    text = LEAST + LEAST.replace("home", "work") + RULE + 'accounts = ["work"]\n'
    found = settings(tmp_path, text)
    assert [len(found.rules_for(name)) for name in ("home", "work", None)] == [0, 1, 1]
    assert [len(found.accounts[name].filing.routes) for name in ("home", "work")] == [0, 1]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("reporting_mta", "reporting", 'rule 1 "tickets": when.reporting: unknown field (did you mean reporting_mta?)'),
        ("policy", "polcy", "rule 1 \"tickets\": then.cause: 'polcy' is none of them (did you mean policy?)"),
        ("file_to", "fileto", 'rule 1 "tickets": then.fileto: unknown key (did you mean file_to?)'),
        ('"tickets"', '""', "rule 1: name: give the rule a name"),
        ('name = "tickets"', "", "rule 1: name: give the rule a name"),
        ('"tickets"', '"a\\u001bb"', 'rule 1 "ab": name: expected up to 60 characters'),
        ('"Bounces/Tickets"', '"INBOX"', 'rule 1 "tickets": then.file_to: bounces are filed out of INBOX'),
        ('"Bounces/Tickets"', '"a*"', 'rule 1 "tickets": then.file_to: a folder\'s name cannot have a "*"'),
        ('"Bounces/Tickets"', "3", 'rule 1 "tickets": then.file_to: expected the name of a folder, got 3'),
        ('file_to = "Bounces/Tickets"', "leave = false", 'rule 1 "tickets": then.leave: expected true, got false'),
        ("file_to", "leave = true, file_to", 'rule 1 "tickets": then: file_to and leave contradict each other'),
        ('cause = "policy", file_to = "Bounces/Tickets"', "", 'rule 1 "tickets": then: empty: say what follows'),
        ('then = { cause = "policy", file_to = "Bounces/Tickets" }', "", 'rule 1 "tickets": then: missing'),
        (
            'then = { cause = "policy", file_to = "Bounces/Tickets" }',
            "then = 3",
            'rule 1 "tickets": then: expected a table',
        ),
        (
            "when",
            'accounts = ["hme"]\nwhen',
            'rule 1 "tickets": accounts: there is no [accounts.hme] (did you mean home?)',
        ),
        ("when", 'accounts = ["xx"]\nwhen', 'rule 1 "tickets": accounts: there is no [accounts.xx] (there is: home)'),
        ("when", 'accounts = "home"\nwhen', 'rule 1 "tickets": accounts: expected a list of account names'),
        ("when", "account = 3\nwhen", 'rule 1 "tickets": account: unknown key'),
        ("\n[[rule]]", RULE + "\n[[rule]]", 'rule 2 "tickets": name: another rule has this name'),
        ("is =", "matches =", None),
        (
            'is = ["mx',
            'matches = ["(mx',
            'rule 1 "tickets": when.reporting_mta.matches: not a regular expression (missing )',
        ),
    ],
)
def test_a_mistake_in_a_rule_is_named(tmp_path: Path, old: str, new: str, says: str | None) -> None:
    """With the rule's number and name."""

    text = LEAST + RULE.replace(old, new, 1)
    if says is None:
        assert settings(tmp_path, text).rules
    else:
        assert complaint(tmp_path, text).startswith(says)


PATTERN = RULE.replace('is = ["mx.tickets.example"]', "matches = ['^(a+)+$']")


def test_no_mail_can_make_a_pattern_hang(tmp_path: Path) -> None:
    """With backtracking, this search would outlast the sun; lone surrogates, as damaged mail has them, are borne."""

    (rule,) = settings(tmp_path, LEAST + PATTERN).rules
    assert rule.find(Facts(lambda _field: "a" * 50_000 + "!")) is None
    assert rule.find(Facts(lambda _field: "b\udcff\nAAA")) == ("reporting_mta", "AAA")


def test_a_pattern_without_google_re2_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard library's patterns can hang, so they are no substitute; rules without patterns go on working."""

    monkeypatch.setitem(sys.modules, "re2", None)
    message = complaint(tmp_path, LEAST + RULE + PATTERN.replace('"tickets"', '"two"'))
    assert message.startswith("rule 2: matches: patterns need google-re2")
    assert "pip install 'bouncefiler[patterns]'" in message
    assert settings(tmp_path, LEAST + RULE).rules


def test_where_the_configuration_is_looked_for() -> None:
    """The XDG directory, then /etc; a relative XDG_CONFIG_HOME is to be ignored."""

    own = Path("/home/ana/.config/bouncefiler/config.toml")
    assert candidates(HOME) == (own, SYSTEM_FILE)
    assert candidates(HOME | {"XDG_CONFIG_HOME": "/c"}) == (Path("/c/bouncefiler/config.toml"), SYSTEM_FILE)
    assert candidates(HOME | {"XDG_CONFIG_HOME": "c"}) == (own, SYSTEM_FILE)
    assert candidates({}) == (SYSTEM_FILE,)


def test_the_configuration_is_found(tmp_path: Path) -> None:
    """Without being named."""

    path = tmp_path / "bouncefiler" / "config.toml"
    path.parent.mkdir()
    path.write_text(LEAST, encoding="utf-8")
    assert load(None, HOME | {"XDG_CONFIG_HOME": str(tmp_path)}).path == path


@pytest.mark.skipif(SYSTEM_FILE.exists(), reason=f"this machine has {SYSTEM_FILE}")
def test_no_configuration_says_where_it_was_looked_for(tmp_path: Path) -> None:
    """And what to do."""

    with pytest.raises(ConfigError) as caught:
        load(None, {"HOME": str(tmp_path)})
    own = tmp_path / ".config/bouncefiler/config.toml"
    assert str(caught.value) == (
        f"there is no configuration at {own} nor at {SYSTEM_FILE}: copy config.example.toml to {own} and fill in its "
        "three lines, or name your file with --config"
    )


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Missing, a directory, or in another encoding."""

    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file or directory"):
        load(tmp_path / "none.toml", HOME)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, HOME)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# Configura\xe7\xe3o\n")
    with pytest.raises(ConfigError, match=r"not UTF-8 text \(at octet 11\)"):
        load(latin, HOME)


def test_a_byte_order_mark_is_borne(tmp_path: Path) -> None:
    """Some editors write one."""

    assert settings(tmp_path, f"\ufeff{LEAST}").accounts


def test_a_file_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    """It can name a command to run."""

    path = tmp_path / "config.toml"
    path.write_text(LEAST, encoding="utf-8")
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="chmod o-w"):
        load(path, HOME)


@pytest.mark.parametrize(
    ("environ", "state_dir"),
    [
        ({"HOME": "/h"}, "/h/.local/state/bouncefiler"),
        ({"HOME": "/h", "XDG_STATE_HOME": "/s"}, "/s/bouncefiler"),
        ({"HOME": "/h", "XDG_STATE_HOME": "/s", "STATE_DIRECTORY": "/var/lib/b:/var/lib/c"}, "/var/lib/b"),
    ],
)
def test_where_state_is_kept(tmp_path: Path, environ: dict[str, str], state_dir: str) -> None:
    """Systemd's word first, then the XDG directory."""

    assert settings(tmp_path, LEAST, environ).state_dir == Path(state_dir)


def test_without_any_place_for_state_the_key_is_named(tmp_path: Path) -> None:
    """A service without home and StateDirectory=."""

    assert complaint(tmp_path, LEAST, {}).startswith("state_dir: missing")
    assert settings(tmp_path, f'state_dir = "s"\n{LEAST}', {}).state_dir == tmp_path / "s"


def switched_on(text: str) -> str:
    """Take the "#" from each line that is a key or a table; prose has a blank behind it."""
    return re.sub(r"(?m)^#(?=[\[a-z])", "", text)


def test_the_example_runs_as_it_is(tmp_path: Path) -> None:
    """Three lines are filled in: host, user and where the password is."""

    text = EXAMPLE.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", "["))]
    assert [line.split()[0] for line in lines] == ["host", "user", "password_from"]
    assert settings(tmp_path, text) == replace(
        settings(tmp_path, LEAST.replace("ana@", "you@")), path=tmp_path / "config.toml"
    )


def test_the_example_shows_the_defaults(tmp_path: Path) -> None:
    """With every line switched on it means the same, apart from those that say that they have no default."""

    (tmp_path / "ca.pem").touch()
    as_it_is = settings(tmp_path, EXAMPLE.read_text(encoding="utf-8"))
    all_on = settings(tmp_path, switched_on(EXAMPLE.read_text(encoding="utf-8")))
    account = all_on.accounts["home"]
    assert len(all_on.rules) == 2
    assert account == replace(
        as_it_is.accounts["home"],
        server=replace(
            as_it_is.accounts["home"].server, ca_file=tmp_path / "ca.pem", fingerprint=account.server.fingerprint
        ),
        filing=replace(FilingPolicy(), cause_folders=account.filing.cause_folders, routes=account.filing.routes),
        watch=WatchPolicy(threshold=25),
        language="en",
        sent_folders=("Sent",),
        addresses=("ana@example.org",),
        also_sends=("shop.example.org",),
        drafts_folder="Drafts",
    )
    assert all_on.state_dir == as_it_is.state_dir
    assert all_on.dns == as_it_is.dns


def test_the_example_has_every_key() -> None:
    """A setting that isn't in there is one that nobody finds."""

    from bouncefiler.config import _Account, _Alert, _File  # noqa: PLC0415

    shown = set(re.findall(r"(?m)^\[*([a-z_]+) = ", switched_on(EXAMPLE.read_text(encoding="utf-8"))))
    shown |= set(
        re.findall(r"(?m)^\[+(?:accounts\.home\.)?([a-z_]+)", switched_on(EXAMPLE.read_text(encoding="utf-8")))
    )
    instead = set(re.findall(r"(?m)^#   ([a-z_]+) = ", EXAMPLE.read_text(encoding="utf-8")))
    assert instead == {"password_from", "token_from"}
    shown |= instead
    assert {*_File.model_fields, *_Account.model_fields, *_Alert.model_fields} <= shown
