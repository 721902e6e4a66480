"""What a domain publishes, good and bad, and what is told of it."""

from __future__ import annotations

import string
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bouncefiler.backscatter import spf
from bouncefiler.backscatter.domains import ABSENT, UNKNOWN, Answer, Offline, Status
from bouncefiler.backscatter.posture import (
    MAX_SHOWN,
    SEVERITY,
    Code,
    Finding,
    Posture,
    Severity,
    Step,
    Suggestion,
    assess,
    sentence,
    shared_provider,
    summary,
)
from tests.nameserver import Fault, serving
from tests.signing import signing_key

GOOD_SPF = "v=spf1 mx -all"
GOOD_DMARC = "v=DMARC1; p=reject; rua=mailto:dmarc@example.org"
MX = ["10 mail.example.org"]


@dataclass
class Zone:
    """A NameService out of a table: TXT records by name; None is no answer."""

    records: Mapping[str, Sequence[str] | None]
    mail: Sequence[str] | None = tuple(MX)
    asked: Counter[str] = field(default_factory=Counter)

    def txt(self, name: str) -> Answer:
        self.asked[name] += 1
        return self._answer(self.records.get(name, ()))

    def mx(self, name: str) -> Answer:
        self.asked[name] += 1
        return self._answer(self.mail)

    def addresses(self, name: str) -> Answer:
        self.asked[name] += 1
        return self._answer(() if name.startswith("void") or name == "example.org" else ("192.0.2.1",))

    def _answer(self, values: Sequence[str] | None) -> Answer:
        if values is None:
            return UNKNOWN
        return Answer(Status.FOUND, tuple(values)) if values else ABSENT


def zone(spf: str = GOOD_SPF, dmarc: str = GOOD_DMARC, /, **more: Sequence[str] | None) -> Zone:
    names = {name.replace("__", "."): values for name, values in more.items()}
    return Zone({"example.org": [spf], "_dmarc.example.org": [dmarc], **names})


def codes(found: Posture, area: str) -> list[Code]:
    return [finding.code for finding in found.findings if finding.code.area == area]


def of_spf(record: str, **more: Sequence[str] | None) -> list[Code]:
    return codes(assess("example.org", zone(record, **more)), "spf")


def of_dmarc(record: str) -> list[Code]:
    return codes(assess("example.org", zone(GOOD_SPF, record)), "dmarc")


def suggestions(names: Zone) -> dict[Step, str]:
    return {suggestion.step: suggestion.record for suggestion in assess("example.org", names).suggestions}


# --- as a whole


def test_a_domain_in_order_has_nothing_wrong_and_nothing_to_change() -> None:
    found = assess("Example.ORG.", zone(k1___domainkey__example__org=[signing_key().record]), ["k1"])

    assert found.domain == "example.org"
    assert [finding.code for finding in found.findings] == [Code.SPF_GOOD, Code.DKIM_GOOD, Code.DMARC_GOOD]
    assert found.worst is Severity.OK
    assert found.suggestions == ()
    assert [name for name, _ in found.published] == ["example.org", "k1._domainkey.example.org", "_dmarc.example.org"]


def test_a_domain_with_nothing_is_told_so_and_what_to_begin_with() -> None:
    found = assess("example.org", Zone({}))

    assert [finding.code for finding in found.findings] == [Code.SPF_ABSENT, Code.DKIM_NOT_SEEN, Code.DMARC_ABSENT]
    assert found.suggestions == (
        Suggestion(Step.SPF_EXAMPLE, "example.org", "v=spf1 mx ~all"),
        Suggestion(Step.DMARC_WATCH, "_dmarc.example.org", "v=DMARC1; p=none; rua=mailto:postmaster@example.org"),
    )


@pytest.mark.parametrize("names", [Offline(), Zone({"example.org": None, "_dmarc.example.org": None}, mail=None)])
def test_what_is_not_known_is_never_told_as_absent(names: Offline | Zone) -> None:
    found = assess("example.org", names, ["k1"])
    told = {finding.code for finding in found.findings}

    assert {Code.SPF_UNKNOWN, Code.DMARC_UNKNOWN} <= told
    assert not {code for code in told if code.endswith(("absent", "none"))} - {Code.DKIM_ABSENT}
    assert (Code.DKIM_UNKNOWN in told) == isinstance(names, Offline)
    assert found.suggestions == ()


def test_a_name_with_nothing_at_all_is_not_judged() -> None:
    """It is not the domain of anybody's mail: mistyped, or the network's DNS says no to everything."""

    found = assess("example.org", Zone({}, mail=[]), ["k1"])

    assert found == Posture("example.org", None, (Finding(Code.DOMAIN_EMPTY),))
    assert found.worst is Severity.UNKNOWN


def test_it_asks_a_real_server() -> None:
    """And what times out there is unknown."""

    records = {"TXT": ["v=spf1 include:slow.example.net ?all"], "MX": ["10 mail.example.org."]}
    with serving({"example.org": records, "slow.example.net": Fault.SILENCE}) as server:
        found = assess("example.org", server.resolver(lifetime=0.2))

    assert codes(found, "spf") == [Code.SPF_NEUTRAL_ALL, Code.SPF_INCOMPLETE]
    assert codes(found, "dmarc") == [Code.DMARC_ABSENT]
    assert [suggestion.step for suggestion in found.suggestions] == [Step.DMARC_WATCH]


@pytest.mark.parametrize(("mail", "code"), [(["0 ."], Code.MX_NULL), ([], Code.MX_NONE)])
def test_a_domain_that_takes_no_mail_is_noticed(mail: list[str], code: Code) -> None:
    names = zone()
    names.mail = mail

    assert codes(assess("example.org", names), "mx") == [code]


@pytest.mark.parametrize("domain", ["", "org", "a b.org", "ana@example.org", "http://example.org", "\x1b[31m.org"])
def test_what_is_no_domain_is_refused(domain: str) -> None:
    with pytest.raises(ValueError, match="not the name of a domain") as caught:
        assess(domain, Offline())

    assert "\x1b" not in str(caught.value)


# --- providers


@pytest.mark.parametrize(
    ("domain", "provider"),
    [
        ("gmail.com", "Gmail (Google)"),
        ("Hotmail.com.BR", "Outlook (Microsoft)"),
        ("yahoo.com.br", "Yahoo"),
        ("bol.com.br", "UOL"),
        ("me.com.", "iCloud (Apple)"),
        ("mail-oa1-f50.google.gmail.com", "Gmail (Google)"),
    ],
)
def test_a_providers_domain_is_the_providers_and_nobody_is_asked(domain: str, provider: str) -> None:
    names = zone()
    found = assess(domain, names, ["k1"])

    assert shared_provider(domain) == found.provider == provider
    assert (found.findings, found.suggestions) == ((), ())
    assert not names.asked
    assert provider in summary(found, "en")[0]


def test_a_domain_of_ones_own_is_nobody_elses() -> None:
    assert shared_provider("example.org") is None
    assert shared_provider("gmail.com.example.org") is None
    assert shared_provider("notgmail.com") is None
    assert shared_provider("not a domain") is None


def test_the_table_of_providers_holds_names_of_domains_once() -> None:
    text = resources.files("bouncefiler.backscatter").joinpath("providers.toml").read_text("utf-8")
    domains = [domain for listed in tomllib.loads(text)["providers"].values() for domain in listed]

    assert len(domains) == len(set(domains))
    assert all(shared_provider(domain) for domain in domains)


# --- SPF


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 a:mail.example.net/24//64 -all", [Code.SPF_GOOD]),
        ("V=SPF1 MX ~ALL", [Code.SPF_GOOD]),
        ("v=spf1 -all", [Code.SPF_GOOD]),
        ("v=spf1 exists:%{i}._spf.example.net -all", [Code.SPF_GOOD]),
        ("v=spf1 mx exp=why.example.org some=thing -all", [Code.SPF_GOOD]),
        ("v=spf1 mx +all", [Code.SPF_ANYBODY]),
        ("v=spf1 mx all", [Code.SPF_ANYBODY]),
        ("v=spf1 mx ?all", [Code.SPF_NEUTRAL_ALL]),
        ("v=spf1 mx", [Code.SPF_NO_ALL]),
        ("v=spf1 ip4:0.0.0.0/1 ip4:128.0.0.0/1 -all", [Code.SPF_WIDE]),
        ("v=spf1 ip6:::/0 -all", [Code.SPF_WIDE]),
        ("v=spf1 -ip4:0.0.0.0/0 -all", [Code.SPF_GOOD]),
        ("v=spf1 ptr -all", [Code.SPF_GOOD, Code.SPF_PTR]),
        ("v=spf1 mx ipv4:192.0.2.1 -all", [Code.SPF_SYNTAX]),
        ("v=spf1 ip4:192.0.2.1,192.0.2.2 -all", [Code.SPF_SYNTAX]),
        ("v=spf1 ip4:192.0.2.256 -all", [Code.SPF_SYNTAX]),
        ("v=spf1 ip4:2001:db8::1 -all", [Code.SPF_SYNTAX]),
        ("v=spf1 include:localhost -all", [Code.SPF_SYNTAX]),
        ("v=spf1 include=example.net -all", [Code.SPF_SYNTAX]),
        ("v=spf1 -all include:good.example.net", [Code.SPF_IGNORED]),
        ("v=spf1 -all junk", [Code.SPF_SYNTAX, Code.SPF_IGNORED]),
        ("v=spf1 include:good.example.net -all", [Code.SPF_GOOD]),
        ("v=spf1 redirect=good.example.net", [Code.SPF_GOOD]),
        ("v=spf1 redirect=open.example.net", [Code.SPF_WIDE, Code.SPF_ANYBODY]),
        ("v=spf1 redirect=nothing.example.net", [Code.SPF_MISSING]),
        ("v=spf1 redirect=nothing.example.net -all", [Code.SPF_GOOD]),
        ("v=spf1 include:nothing.example.net -all", [Code.SPF_MISSING]),
        ("v=spf1 include:twice.example.net -all", [Code.SPF_MISSING]),
        ("v=spf1 include:loop.example.net -all", [Code.SPF_LOOP]),
        ("v=spf1 include:example.org -all", [Code.SPF_LOOP]),
        ("v=spf1 include:open.example.net -all", [Code.SPF_WIDE]),
        ("v=spf1 include:broken.example.net -all", [Code.SPF_SYNTAX]),
        ("v=spf1 include:silent.example.net -all", [Code.SPF_INCOMPLETE]),
        ("v=spf1 redirect=silent.example.net", [Code.SPF_INCOMPLETE]),
        ("v=spf1 a:void1.example.net a:void2.example.net -all", [Code.SPF_GOOD]),
        ("v=spf1 a:void1.example.net a:void2.example.net a:void3.example.net -all", [Code.SPF_VOID]),
        ("v=spf1 " + "a:x.example.net " * 10 + "-all", [Code.SPF_GOOD]),
        ("v=spf1 " + "a:x.example.net " * 11 + "-all", [Code.SPF_LOOKUPS]),
        ("v=spf1 " + "include:nine.example.net " * 2 + "-all", [Code.SPF_LOOKUPS]),
    ],
)
def test_each_mistake_in_spf_has_its_name(record: str, expected: list[Code]) -> None:
    nine = ["v=spf1 " + "mx:a.example.net " * 8 + "-all"]
    found = of_spf(
        record,
        good__example__net=["v=spf1 ip4:192.0.2.1 -all"],
        open__example__net=["other", "v=spf1 +all"],
        twice__example__net=["v=spf1 -all", "v=spf1 -all"],
        loop__example__net=["v=spf1 include:loop.example.net -all"],
        broken__example__net=["v=spf1 ip5:1 -all"],
        silent__example__net=None,
        nine__example__net=nine,
    )

    assert found == expected


def test_spf_says_how_many_look_ups_it_takes() -> None:
    nine = ["v=spf1 " + "mx:a.example.net " * 8 + "-all"]
    found = assess(
        "example.org", zone("v=spf1 include:nine.example.net include:nine.example.net -all", nine__example__net=nine)
    )

    assert Finding(Code.SPF_LOOKUPS, number=18) in found.findings


def test_several_spf_records_are_none_and_become_one() -> None:
    names = Zone({"example.org": ["v=spf1 mx -all", "verification=1", "v=spf1 mx ip4:192.0.2.1 ~all"]})
    found = assess("example.org", names)

    assert Finding(Code.SPF_SEVERAL, number=2) in found.findings
    assert suggestions(names)[Step.SPF_MERGED] == "v=spf1 mx ip4:192.0.2.1 ~all"


@pytest.mark.parametrize(
    ("record", "better"),
    [
        ("v=spf1 mx +all", "v=spf1 mx ~all"),
        ("v=spf1 mx ?all", "v=spf1 mx ~all"),
        ("v=spf1 mx a:b.example.net", "v=spf1 mx a:b.example.net ~all"),
        ("v=spf1 -all mx", "v=spf1 mx ~all"),
        ("v=spf1 mx -all", None),
        ("v=spf1 mx ~all", None),
        ("v=spf1 +all", None),
        ("v=spf1 mx junk ?all", None),
        ("v=spf1 redirect=nothing.example.net", None),
        ("v=spf1 " + "a:x.example.net " * 11 + "?all", None),
        ("v=spf1 " + " ".join(f"a:x{n}.example.net" for n in range(11)) + " ?all", None),
        ("v=spf1 include:nothing.example.net ?all", None),
    ],
)
def test_a_better_spf_record_is_only_proposed_where_it_is_sound(record: str, better: str | None) -> None:
    repeated = record.count("a:x.example.net") > 1  # which is one look-up once it is said once
    found = suggestions(zone(record)).get(Step.SPF_ENDED)

    assert found == ("v=spf1 a:x.example.net ~all" if repeated else better)


def test_a_walk_through_spf_ends_however_much_is_included() -> None:
    """Each includes the next two: 2 to the power of 60, if it went on."""

    tree = {
        f"n{n}.example.net": [f"v=spf1 include:n{n + 1}.example.net a include:n{n + 1}.example.net -all"]
        for n in range(60)
    }
    names = Zone({"example.org": ["v=spf1 include:n0.example.net -all"], **tree})
    found = assess("example.org", names)

    assert Code.SPF_LOOKUPS in codes(found, "spf")
    assert names.asked.total() < 3 * spf.ENOUGH


# --- DKIM


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([signing_key().record], [Code.DKIM_GOOD]),
        ([signing_key(1_024).record], [Code.DKIM_WEAK]),
        ([signing_key(512).record], [Code.DKIM_SHORT]),
        (["v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="], [Code.DKIM_GOOD]),
        (["v=DKIM1; p="], [Code.DKIM_REVOKED]),
        (["v=DKIM1; p=AAAA"], [Code.DKIM_DAMAGED]),
        (["something else"], [Code.DKIM_DAMAGED]),
        ([signing_key().record + "; t=s:y"], [Code.DKIM_GOOD, Code.DKIM_TESTING]),
        ([], [Code.DKIM_ABSENT]),
        (None, [Code.DKIM_UNKNOWN]),
    ],
)
def test_each_key_is_judged(records: list[str] | None, expected: list[Code]) -> None:
    assert codes(assess("example.org", zone(k1___domainkey__example__org=records), ["k1"]), "dkim") == expected


def test_selectors_stem_from_mail_so_only_names_are_asked_for_and_not_many() -> None:
    names = zone()
    assess("example.org", names, ["k1", "k1", "a b", "../x", "\x1b", "", "x" * 300, *(f"s{n}" for n in range(100))])

    asked = [name for name in names.asked if "_domainkey" in name]
    assert asked == [f"{selector}._domainkey.example.org" for selector in ("k1", *(f"s{n}" for n in range(9)))]


# --- DMARC


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (GOOD_DMARC, [Code.DMARC_GOOD]),
        ("v=DMARC1; p=quarantine; rua=mailto:a@example.org;", [Code.DMARC_GOOD]),
        ("v = DMARC1;p=Reject;rua=mailto:a@example.org", [Code.DMARC_GOOD]),
        ("v=DMARC1; p=none; rua=mailto:a@example.org", [Code.DMARC_NONE]),
        ("v=DMARC1; p=reject", [Code.DMARC_GOOD, Code.DMARC_NO_REPORTS]),
        ("v=DMARC1; p=reject; pct=20; rua=mailto:a@example.org", [Code.DMARC_PCT]),
        ("v=DMARC1; p=reject; pct=100; rua=mailto:a@example.org", [Code.DMARC_GOOD]),
        ("v=DMARC1; p=reject; sp=none; rua=mailto:a@example.org", [Code.DMARC_SUBDOMAINS]),
        ("v=DMARC1; p=quarantine; sp=reject; rua=mailto:a@example.org", [Code.DMARC_GOOD]),
        ("v=DMARC1; p=reject; t=y; rua=mailto:a@example.org", [Code.DMARC_TESTING]),
        ("v=DMARC1; p=nothing", [Code.DMARC_SYNTAX]),
        ("v=DMARC1", [Code.DMARC_SYNTAX]),
        ("v=DMARC1; p=none; p=reject", [Code.DMARC_SYNTAX]),
        ("v=spf1 -all", [Code.DMARC_ABSENT]),
        ("v=DMARC10; p=reject", [Code.DMARC_ABSENT]),
    ],
)
def test_each_mistake_in_dmarc_has_its_name(record: str, expected: list[Code]) -> None:
    assert of_dmarc(record) == expected


def test_several_dmarc_records_are_none() -> None:
    names = Zone({"example.org": [GOOD_SPF], "_dmarc.example.org": [GOOD_DMARC, "v=DMARC1; p=none"]})

    assert codes(assess("example.org", names), "dmarc") == [Code.DMARC_SEVERAL]


@pytest.mark.parametrize(
    ("records", "where", "expected"),
    [
        ({"_dmarc.example.org": [GOOD_DMARC]}, "example.org", [Code.DMARC_INHERITED, Code.DMARC_GOOD]),
        (
            {"_dmarc.example.org": ["v=DMARC1; p=reject; sp=none; rua=mailto:a@example.org"]},
            "example.org",
            [Code.DMARC_INHERITED, Code.DMARC_NONE],
        ),
        (
            {
                "_dmarc.b.example.org": ["v=DMARC1; p=none; rua=mailto:a@example.org"],
                "_dmarc.example.org": [GOOD_DMARC],
            },
            "example.org",
            [Code.DMARC_INHERITED, Code.DMARC_GOOD],
        ),
        (
            {"_dmarc.b.example.org": [GOOD_DMARC + "; psd=n"], "_dmarc.example.org": ["v=DMARC1; p=none"]},
            "b.example.org",
            [Code.DMARC_INHERITED, Code.DMARC_GOOD],
        ),
        (
            {"_dmarc.example.org": [GOOD_DMARC], "_dmarc.org": ["v=DMARC1; p=none; psd=y"]},
            "example.org",
            [Code.DMARC_INHERITED, Code.DMARC_GOOD],
        ),
        ({"_dmarc.org": [GOOD_DMARC + "; psd=y"]}, "org", [Code.DMARC_INHERITED, Code.DMARC_GOOD]),
        ({"_dmarc.b.example.org": None, "_dmarc.org": []}, "", [Code.DMARC_UNKNOWN]),
        ({}, "", [Code.DMARC_ABSENT]),
    ],
)
def test_a_record_above_holds_where_there_is_none(
    records: dict[str, list[str] | None], where: str, expected: list[Code]
) -> None:
    found = assess("a.b.example.org", Zone(records))

    assert codes(found, "dmarc") == expected
    assert Finding(Code.DMARC_INHERITED, where) in found.findings or not where


def test_the_walk_up_a_long_name_is_short() -> None:
    names = Zone({})
    assess(".".join([*"abcdefghijklmnop", "example.org"]), names)

    assert sorted(name for name in names.asked if "dmarc" in name)[-2:] == ["_dmarc.org", "_dmarc.p.example.org"]
    assert sum("dmarc" in name for name in names.asked) == 8


def test_watching_is_followed_by_quarantine_once_there_are_reports() -> None:
    watching = "v=DMARC1; p=none; rua=mailto:a@example.org; adkim=s"

    assert suggestions(zone(GOOD_SPF, watching)) == {
        Step.DMARC_QUARANTINE: "v=DMARC1; p=quarantine; rua=mailto:a@example.org; adkim=s"
    }
    assert suggestions(zone(GOOD_SPF, "v=DMARC1; p=none")) == {
        Step.DMARC_WATCH: "v=DMARC1; p=none; rua=mailto:postmaster@example.org"
    }
    assert suggestions(zone(GOOD_SPF, GOOD_DMARC)) == {}


# --- what is told


@pytest.mark.parametrize("language", ["en", "pt"])
def test_there_are_words_for_everything_and_nothing_else(language: str) -> None:
    text = resources.files("bouncefiler.backscatter").joinpath("words", f"posture.{language}.toml").read_text("utf-8")
    words = tomllib.loads(text)

    assert set(words["finding"]) == set(Code) == set(SEVERITY)
    assert set(words["suggestion"]) == set(Step)
    assert set(words["severity"]) == set(Severity)
    assert set(words["area"]) == {code.area for code in Code}
    for said in words["finding"].values():
        assert {name for _, name, _, _ in string.Formatter().parse(said) if name} <= {"text", "number"}


def test_both_languages_say_the_same_things() -> None:
    def names(value: object) -> object:
        if isinstance(value, dict):
            return {key: names(inner) for key, inner in value.items()}
        return sorted(name for _, name, _, _ in string.Formatter().parse(str(value)) if name)

    english, portuguese = (
        tomllib.loads(
            resources.files("bouncefiler.backscatter").joinpath("words", f"posture.{language}.toml").read_text("utf-8")
        )
        for language in ("en", "pt")
    )
    assert names(english) == names(portuguese)


@pytest.mark.parametrize(
    ("names", "lines"),
    [
        (Zone({}), ["SPF: there is no record", "DMARC: there is no record", "`bouncefiler posture`"]),
        (zone("v=spf1 junk +all"), ["SPF: the record holds what no server understands", "`bouncefiler posture`"]),
        (zone(), ["example.org publishes what it takes"]),
        (
            Zone({"example.org": None, "_dmarc.example.org": None}),
            ["What example.org publishes against forgery could not"],
        ),
        (
            Zone({"example.org": None}),
            ["SPF: could not be asked", "DMARC: there is no record", "`bouncefiler posture`"],
        ),
    ],
)
def test_an_alert_gets_the_worst_in_a_few_lines(names: Zone, lines: list[str]) -> None:
    told = summary(assess("example.org", names), "en")

    assert len(told) == len(lines) <= 5
    assert all(said.startswith(line) for said, line in zip(told, lines, strict=True))


def test_it_is_told_in_the_readers_language() -> None:
    found = assess("example.org", Zone({}))

    assert (
        summary(found, "pt_BR.UTF-8")[0]
        == "SPF: não há registro. Ninguém sabe quais servidores podem enviar e-mails pelo domínio."
    )
    assert summary(found, "de") == summary(found, "en")


@given(st.text(max_size=400), st.text(max_size=400))
def test_whatever_is_published_is_told_in_clean_lines(first: str, second: str) -> None:
    names = zone(f"v=spf1 {first}", f"v=DMARC1; {second}", k1___domainkey__example__org=[first, second])
    found = assess("example.org", names, ["k1", first[:20]])

    for finding in found.findings:
        said = sentence(finding, "pt")
        assert said.isprintable()
        assert len(finding.text) <= MAX_SHOWN
    assert all(suggestion.record.isascii() and suggestion.record.isprintable() for suggestion in found.suggestions)
    assert all(text.isascii() and text.isprintable() for _, text in found.published if not text.endswith("…"))
    assert all(name.isascii() and name.isprintable() for name, _ in found.published)
    lines = summary(found, "en")
    assert len(lines) <= 5
    assert max(map(len, lines)) <= 180
