"""The DNS: a few questions about names, each with an end in time. Only this module knows dnspython.

Nothing here may hold up the filing of mail, so a question never raises and never takes longer than it may; what could
not be learnt is UNKNOWN. Names stem from mail of strangers: only what looks like a name is asked for.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.resolver
from dns.rdata import Rdata
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.TXT import TXT

from bouncefiler.backscatter.domains import ABSENT, UNKNOWN, Answer, Status, domain_name

LIFETIME = 2.0
"""Seconds that a question may take."""

LEAST_TTL, MOST_TTL = 60.0, 86_400.0
"""Seconds for which an answer is kept, whatever its records ask for."""

UNKNOWN_TTL = 60.0
"""Seconds after which a question that found no answer is asked again."""

MAX_KEPT = 1_024
"""Answers that are kept; the one that was not asked for longest goes first."""

MAX_TEXT = 16_384
"""Characters in one answer. More than this is none that anybody meant."""

PAYLOAD = 1_232
"""Octets that a server may send by UDP (dnsflagday.net/2020); a longer answer comes by TCP."""

_FAILURES = (dns.exception.DNSException, OSError, EOFError, ValueError)
"""What dnspython raises over servers and what they say; EOFError when a connection ends too soon."""

_Kept = tuple[float, Answer]


class _Cache:
    """Answers and until when they hold. For any number of threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._answers: OrderedDict[tuple[str, str], _Kept] = OrderedDict()

    def get(self, key: tuple[str, str], now: float) -> Answer | None:
        with self._lock:
            until, answer = self._answers.get(key, (now, UNKNOWN))
            if until <= now:
                return None
            self._answers.move_to_end(key)
            return answer

    def put(self, key: tuple[str, str], answer: Answer, until: float) -> None:
        with self._lock:
            self._answers[key] = (until, answer)
            self._answers.move_to_end(key)
            if len(self._answers) > MAX_KEPT:
                self._answers.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Resolver:
    """Asks the system's name servers, or those that are named. A NameService."""

    lifetime: float = LIFETIME
    """Seconds that a question may take."""
    nameservers: Sequence[str] = ()
    """Their addresses; none takes the system's, as they are at the time of each question."""
    port: int = 53
    clock: Callable[[], float] = time.monotonic
    deadline: float | None = None
    """When, by `clock`, nothing is asked any more; see `within`."""
    _cache: _Cache = field(default_factory=_Cache)

    def within(self, seconds: float) -> Resolver:
        """Return this resolver for one piece of work, which it may hold up for so long in all.

        After that it answers what it remembers, and all else is UNKNOWN at once.
        """
        return replace(self, deadline=self.clock() + seconds)

    def txt(self, name: str) -> Answer:
        """Return the TXT records, the strings of each joined."""
        return self._look_up(name, ("TXT",))

    def mx(self, name: str) -> Answer:
        """Return the MX records as "10 mail.example.org"; a null MX is "0 ."."""
        return self._look_up(name, ("MX",))

    def addresses(self, name: str) -> Answer:
        """Return the addresses, of IPv4 and of IPv6."""
        return self._look_up(name, ("A", "AAAA"))

    def _look_up(self, name: str, kinds: Sequence[str]) -> Answer:
        asked = domain_name(name)
        if asked is None:
            return UNKNOWN
        end = self.clock() + self.lifetime
        if self.deadline is not None:
            end = min(end, self.deadline)
        return _together([self._kept_or_asked(asked, kind, end) for kind in kinds])

    def _kept_or_asked(self, name: str, kind: str, end: float) -> Answer:
        kept = self._cache.get((name, kind), self.clock())
        if kept is not None:
            return kept
        if self.clock() >= end:
            return UNKNOWN
        response = self._ask(name, kind, end)
        answer, ttl = _read(response) if response else (UNKNOWN, UNKNOWN_TTL)
        self._cache.put((name, kind), answer, self.clock() + ttl)
        return answer

    def _ask(self, name: str, kind: str, end: float) -> dns.message.Message | None:
        """Ask the servers in turn until one knows.

        This is not left to dnspython's resolver, whose pauses between two attempts run over the end.
        """
        servers = list(self.nameservers) or _system_servers()
        attempts = [*servers[:2], *servers[:1]]
        for number, server in enumerate(attempts):
            wait = (end - self.clock()) / (len(attempts) - number)
            if wait <= 0:
                break
            try:
                response = self._exchange(name, kind, server, wait)
            except _FAILURES:
                continue
            if response.rcode() in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
                return response
        return None

    def _exchange(self, name: str, kind: str, server: str, wait: float) -> dns.message.Message:
        query = dns.message.make_query(f"{name}.", kind, use_edns=0, payload=PAYLOAD)
        end = self.clock() + wait
        response = dns.query.udp(query, server, wait, self.port, ignore_unexpected=True, ignore_errors=True)
        if response.flags & dns.flags.TC:
            response = dns.query.tcp(query, server, max(0.0, end - self.clock()), self.port)
        return response


def _system_servers() -> list[str]:
    """Return what the system says now: a laptop's servers change with its network."""
    try:
        return [server for server in dns.resolver.Resolver().nameservers if isinstance(server, str)]
    except _FAILURES:  # there is no resolv.conf, or none that can be read
        return []


def _read(response: dns.message.Message) -> tuple[Answer, float]:
    """Return what the response says, and for how many seconds it holds."""
    if not isinstance(response, dns.message.QueryMessage):
        return UNKNOWN, UNKNOWN_TTL
    try:
        chain = response.resolve_chaining()  # follows CNAME; takes a negative answer's time from its SOA (RFC 2308)
        values = tuple(_values(chain.answer or ()))
    except _FAILURES:
        return UNKNOWN, UNKNOWN_TTL
    if sum(map(len, values)) > MAX_TEXT:
        return UNKNOWN, UNKNOWN_TTL
    ttl = min(max(LEAST_TTL, chain.minimum_ttl), MOST_TTL)
    return (Answer(Status.FOUND, values) if values else ABSENT), ttl


def _values(records: Iterable[Rdata]) -> Iterator[str]:
    for record in records:
        match record:
            case TXT():
                yield b"".join(record.strings).decode("utf-8", "replace")
            case MX():
                yield f"{record.preference} {record.exchange.to_text(omit_final_dot=True)}"
            case _:
                yield str(record)


def _together(answers: Sequence[Answer]) -> Answer:
    """Join the answers to questions of which one is enough; ABSENT only when all are."""
    values = tuple(value for answer in answers for value in answer.values)
    if values:
        return Answer(Status.FOUND, values)
    return UNKNOWN if UNKNOWN in answers else ABSENT
