"""Questions to the DNS, asked of a real server over a real socket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bouncefiler.backscatter.domains import ABSENT, UNKNOWN, Answer, Offline, Status, aligned, domain_name
from bouncefiler.edge.dns import MAX_KEPT, MAX_TEXT, Resolver
from tests.nameserver import HOST, Entry, Fault, Nameserver, Slow, serving

KEY = "v=DKIM1; p=" + "A" * 600
ZONE: dict[str, Entry] = {
    "example.org": {"TXT": ["v=spf1 mx -all", "other"], "MX": ["10 mail.example.org.", "20 b.example.net."]},
    "mail.example.org": {"A": ["192.0.2.1"]},
    "six.example.org": {"AAAA": ["2001:db8::1"]},
    "null.example.org": {"MX": ["0 ."]},
    "k._domainkey.example.org": {"TXT": [KEY]},
    "alias.example.org": {"CNAME": ["example.org."]},
    "long.example.org": {"TXT": ["A" * 10_000]},
    "huge.example.org": {"TXT": ["A" * (MAX_TEXT + 1)]},
    **{f"{fault.name.lower()}.example.org": fault for fault in Fault},
}


class Clock:
    """A clock that goes only when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def server() -> Iterator[Nameserver]:
    with serving(ZONE) as running:
        yield running


def found(*values: str) -> Answer:
    return Answer(Status.FOUND, values)


def test_it_finds_what_is_published(server: Nameserver) -> None:
    """Strings of a TXT record are joined, an alias is followed, and either family of addresses will do."""

    resolver = server.resolver()

    assert set(resolver.txt("example.org").values) == {"v=spf1 mx -all", "other"}
    assert resolver.txt("K._DomainKey.Example.ORG.") == found(KEY)
    assert resolver.txt("alias.example.org").status is Status.FOUND
    assert set(resolver.mx("example.org").values) == {"10 mail.example.org", "20 b.example.net"}
    assert resolver.mx("null.example.org") == found("0 .")
    assert resolver.addresses("mail.example.org") == found("192.0.2.1")
    assert resolver.addresses("six.example.org") == found("2001:db8::1")


def test_a_long_answer_comes_by_tcp(server: Nameserver) -> None:
    assert server.resolver().txt("long.example.org") == found("A" * 10_000)


def test_no_such_name_and_no_such_record_are_absent(server: Nameserver) -> None:
    resolver = server.resolver()

    assert resolver.txt("nothing.example.org") == ABSENT
    assert resolver.txt("mail.example.org") == ABSENT
    assert resolver.addresses("example.org") == ABSENT


@pytest.mark.parametrize("name", [f"{fault.name.lower()}.example.org" for fault in Fault] + ["huge.example.org"])
def test_trouble_is_unknown_and_never_absent(server: Nameserver, name: str) -> None:
    assert server.resolver(lifetime=0.2).txt(name) == UNKNOWN


def test_a_slow_answer_is_waited_for_only_so_long(server: Nameserver) -> None:
    server.zone["slow.example.org"] = Slow(0.5, {"TXT": ["late"]})

    assert server.resolver(lifetime=0.1).txt("slow.example.org") == UNKNOWN
    assert server.resolver(lifetime=20).txt("slow.example.org") == found("late")


def test_a_second_server_helps_out(server: Nameserver) -> None:
    resolver = Resolver(1.0, ("127.0.0.2", HOST), server.port)  # nobody listens at the first

    assert resolver.txt("k._domainkey.example.org") == found(KEY)


def test_nobody_to_ask_is_unknown() -> None:
    assert Resolver(0.2, ("not an address",), 1).txt("example.org") == UNKNOWN


def test_a_budget_ends_the_asking_but_not_the_remembering(server: Nameserver) -> None:
    clock = Clock()
    resolver = replace(server.resolver(), clock=clock)
    batch = resolver.within(5)
    before = batch.mx("example.org")
    clock.now += 5
    server.asked.clear()

    assert batch.txt("example.org") == UNKNOWN
    assert batch.mx("example.org") == before
    assert not server.asked
    assert resolver.txt("example.org").status is Status.FOUND


@pytest.mark.parametrize(
    ("name", "ttl", "kept", "gone"),
    [
        ("example.org", 300, 299, 301),
        ("example.org", 5, 59, 61),
        ("example.org", 10_000_000, 86_399, 86_401),
        ("servfail.example.org", 300, 59, 61),
        ("nothing.example.org", 300, 59, 86_401),
    ],
)
def test_answers_are_remembered_as_long_as_they_ask_for_within_bounds(
    name: str, ttl: int, kept: int, gone: int
) -> None:
    with serving(ZONE, ttl) as server:
        clock = Clock()
        resolver = replace(server.resolver(), clock=clock)
        resolver.txt(name)
        asked = server.asked[name, "TXT"]
        clock.now += kept
        resolver.txt(name)
        clock_kept = server.asked[name, "TXT"]
        clock.now += gone - kept
        resolver.txt(name)

        assert clock_kept == asked
        assert server.asked[name, "TXT"] > asked


def test_it_forgets_what_was_not_asked_for_longest(server: Nameserver) -> None:
    resolver = server.resolver()
    names = [f"n{number}.example.net" for number in range(MAX_KEPT + 1)]
    for name in (*names[:-1], names[0], names[-1]):
        resolver.txt(name)
    server.asked.clear()
    resolver.txt(names[0])
    resolver.txt(names[1])

    assert server.asked == {(names[1], "TXT"): 1}


def test_many_threads_can_ask_at_once(server: Nameserver) -> None:
    resolver = server.resolver(lifetime=20)
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda: answers.append(resolver.txt("k._domainkey.example.org"))) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [found(KEY)] * 16


NO_NAMES = (
    *("", ".", "org", "a..b", "-a.org", "a-.org", "a b.org", "a\n.org", "%{i}.org", "*.org", "a\\.b.org", "1.2/3"),
    *("ä" * 300 + ".org", "a" * 64 + ".org", "a." * 127 + "org", "\ud800.org", "a.org\0.net", "a@b.org"),
)


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name_is_not_asked_for(server: Nameserver, name: str) -> None:
    resolver = server.resolver()
    server.asked.clear()

    assert resolver.txt(name) == resolver.mx(name) == resolver.addresses(name) == UNKNOWN
    assert not server.asked


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_none(text: str) -> None:
    name = domain_name(text)

    assert name is None or (domain_name(name) == name and name.isascii() and len(name) <= 253)


def test_names_are_compared_as_they_are_asked_for() -> None:
    assert domain_name(" Bücher.Example. ") == "xn--bcher-kva.example"
    assert aligned("example.org", "example.org")
    assert aligned("mail.example.org", "example.org")
    assert aligned("example.org", "mail.example.org")
    assert not aligned("badexample.org", "example.org")
    assert not aligned("a.example.org", "b.example.org")


@pytest.mark.parametrize("ask", [Offline().txt, Offline().mx, Offline().addresses])
def test_offline_knows_nothing(ask: Callable[[str], Answer]) -> None:
    assert ask("example.org") == UNKNOWN
