"""A small name server on the loopback interface: a zone as a table, and faults to order."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import dns.rrset

from bouncefiler.edge.dns import Resolver

HOST = "127.0.0.1"


class Fault(Enum):
    """What a name server may do instead of answering."""

    SILENCE = auto()
    SERVFAIL = auto()
    REFUSED = auto()
    GARBAGE = auto()
    """Octets that are no DNS message."""
    HANG_UP = auto()
    """By UDP it says: ask by TCP; and there it ends the connection without a word."""


@dataclass(frozen=True)
class Slow:
    """Answers, but only after so many seconds."""

    seconds: float
    records: Mapping[str, Sequence[str]]


Entry = Mapping[str, Sequence[str]] | Slow | Fault
"""The records of a name by type, such as {"TXT": ["v=spf1 -all"], "MX": ["10 mail.example.org."]}."""


@dataclass
class Nameserver:
    """Answers from `zone`, which may change while it runs; names are in lower case, without the last dot.

    A name that is not there does not exist (NXDOMAIN). A CNAME is followed within the zone.
    """

    zone: dict[str, Entry]
    ttl: int = 300
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each (name, type) was asked for."""
    port: int = 0

    def resolver(self, lifetime: float = 2.0) -> Resolver:
        """Return a new resolver, with an empty memory, that asks this server alone."""
        return Resolver(lifetime, (HOST,), self.port)

    def serve_udp(self, sock: socket.socket) -> None:
        """Answer until the socket is closed."""
        while True:
            try:
                wire, peer = sock.recvfrom(4_096)
            except OSError:
                return
            threading.Thread(target=self._reply_udp, args=(sock, wire, peer), daemon=True).start()

    def serve_tcp(self, listener: socket.socket) -> None:
        """Answer until the socket is closed, one question a connection."""
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                (size,) = struct.unpack("!H", connection.recv(2))
                reply = self._reply(connection.recv(size), 65_535)
                if reply and not dns.message.from_wire(reply).flags & dns.flags.TC:
                    connection.sendall(struct.pack("!H", len(reply)) + reply)

    def _reply_udp(self, sock: socket.socket, wire: bytes, peer: tuple[str, int]) -> None:
        reply = self._reply(wire, dns.message.from_wire(wire).payload or 512)
        if reply is not None:
            with suppress(OSError):  # whoever asked has gone, or the server has been closed meanwhile
                sock.sendto(reply, peer)

    def _reply(self, wire: bytes, size: int) -> bytes | None:
        query = dns.message.from_wire(wire)
        name = query.question[0].name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(query.question[0].rdtype)
        self.asked[name, kind] += 1
        entry = self.zone.get(name)
        if entry is Fault.SILENCE:
            return None
        if isinstance(entry, Slow):
            time.sleep(entry.seconds)
        if entry is Fault.GARBAGE:
            return b"\0garbage"
        return self._answer(query, name, kind).to_wire(max_size=size, prefer_truncation=True)

    def _answer(self, query: dns.message.Message, name: str, kind: str) -> dns.message.Message:
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        match self.zone.get(name):
            case None:
                reply.set_rcode(dns.rcode.NXDOMAIN)
            case Fault.HANG_UP:
                reply.flags |= dns.flags.TC
            case Fault() as fault:
                reply.set_rcode(dns.rcode.from_text(fault.name))
            case _:
                self._add_records(reply, name, kind)
        return reply

    def _add_records(self, reply: dns.message.Message, name: str, kind: str) -> None:
        entry = self.zone.get(name)
        records = entry.records if isinstance(entry, Slow) else entry
        if records is None or isinstance(records, Fault):
            return
        if "CNAME" in records:
            reply.answer.append(self._rrset(name, "CNAME", records["CNAME"]))
            self._add_records(reply, records["CNAME"][0].removesuffix("."), kind)
        elif kind in records:
            reply.answer.append(self._rrset(name, kind, records[kind]))

    def _rrset(self, name: str, kind: str, values: Sequence[str]) -> dns.rrset.RRset:
        owner = dns.name.from_text(name)
        if kind != "TXT":
            return dns.rrset.from_text_list(owner, self.ttl, "IN", kind, list(values))
        records = [
            dns.rdtypes.ANY.TXT.TXT(dns.rdataclass.IN, dns.rdatatype.TXT, _strings(value.encode())) for value in values
        ]
        return dns.rrset.from_rdata_list(owner, self.ttl, records)


def _strings(text: bytes) -> list[bytes]:
    """Cut a TXT record into the strings of 255 octets that it may have (RFC 1035, 3.3)."""
    return [text[start : start + 255] for start in range(0, len(text), 255)] or [b""]


@contextmanager
def serving(zone: Mapping[str, Entry], ttl: int = 300) -> Iterator[Nameserver]:
    """Run a name server, by UDP and TCP, for as long as the context lasts."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.create_server((HOST, 0)) as tcp:
        server = Nameserver(dict(zone), ttl, port=tcp.getsockname()[1])
        udp.bind((HOST, server.port))
        threading.Thread(target=server.serve_udp, args=(udp,), daemon=True).start()
        threading.Thread(target=server.serve_tcp, args=(tcp,), daemon=True).start()
        yield server
