"""COMPRESS=DEFLATE (RFC 4978) with a real server: inside TLS, and where it is offered and cannot be had."""

from __future__ import annotations

import logging
import select
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from benchmarks.proxy import Proxy, Traffic
from bouncefiler.edge import imap
from bouncefiler.settings import Compress, Security
from bouncefiler.sweep import Moved, Reading, Span, Window, one_by_one
from tests.dovecot import HOST, PASSWORD, Dovecot, Variant
from tests.edge.test_account_contract import batch_of, mail, opened, wanted

pytestmark = pytest.mark.dovecot

Dovecots = Callable[[Variant], Dovecot]

OFFERING = f"imap_capability = {Variant().capabilities()} COMPRESS=DEFLATE\n"
COMPRESSING = Variant(extra=OFFERING + "protocol imap {\n  mail_plugins = imap_zlib\n}\n")
PRETENDING = Variant(extra=OFFERING)
"""A server that offers what it was never taught, as one does behind a proxy that rewrites what is offered."""

MESSAGES = 400
PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Visit:
    """What a visit to an account came to, and what went over the wire before it waited for news."""

    windows: tuple[Window, ...]
    readings: tuple[Reading, ...]
    moved: Moved
    news: bool
    traffic: Traffic


def visit(dovecot: Dovecot, security: Security, compress: Compress) -> Visit:
    """Log in, scan, read, move, and wait until there is a new message: all through a proxy that counts octets."""
    user = dovecot.new_user()
    mailbox = dovecot.mailbox(user)
    mailbox.store(mail(number, body=b"The text of a message.\r\n" * 40) for number in range(1, MESSAGES + 1))
    server = dovecot.server(user, security)
    with Proxy(HOST, server.port) as proxy:
        through = replace(server, port=proxy.port, compress=compress)
        with imap.open_account(through, PASSWORD) as account:
            state = opened(account)
            windows = tuple(account.scan(state, Span(), one_by_one(wanted)))
            suspects = [uid for window in windows for uid in window.suspects]
            readings = tuple(account.read(state, suspects, 8_192))
            moved = account.move(batch_of(account, state, suspects))
            traffic = proxy.take()
            vigil = account.watch(opened(account))
            assert vigil is not None
            assert vigil.fileno is not None
            assert select.select([vigil.fileno], [], [], 0)[0] == []
            mailbox.deliver(mail(MESSAGES + 1))
            readable, _, _ = select.select([vigil.fileno], [], [], PATIENCE)
            news = bool(readable) and account.attend()
            assert account.changed(opened(account)) is False
    return Visit(windows, readings, moved, news, traffic)


def test_inside_tls_all_is_as_without_and_far_fewer_octets_go_over_the_wire(dovecots: Dovecots) -> None:
    """Login, scan, bodies, a move, and a wait that ends when mail comes."""
    dovecot = dovecots(COMPRESSING)

    plain = visit(dovecot, Security.TLS, Compress.NEVER)
    squeezed = visit(dovecot, Security.TLS, Compress.ALWAYS)

    assert sum(window.scanned for window in plain.windows) == MESSAGES
    assert len(plain.readings) == len(plain.moved.uids or ()) == 11  # 7, and 70 to 79
    assert plain.news
    assert replace(squeezed, traffic=plain.traffic, moved=plain.moved) == plain
    assert squeezed.moved.uids == plain.moved.uids
    assert squeezed.traffic.down < plain.traffic.down / 3
    assert squeezed.traffic.up < plain.traffic.up


@pytest.mark.parametrize("security", [Security.PLAIN, Security.TLS])
def test_an_offer_that_is_not_kept_costs_one_question(
    dovecots: Dovecots, security: Security, caplog: pytest.LogCaptureFixture
) -> None:
    """The server does not know the command; the work goes on as if it had not been offered, and a line says so."""
    caplog.set_level(logging.DEBUG, "bouncefiler")
    dovecot = dovecots(PRETENDING)

    without = visit(dovecot, security, Compress.NEVER)
    said = len(caplog.records)
    refused = visit(dovecot, security, Compress.ALWAYS)

    assert [r.levelno for r in caplog.records[said:] if "refuses it" in r.getMessage()] == [logging.DEBUG]
    assert replace(refused, traffic=without.traffic, moved=without.moved) == without
    assert refused.moved.uids == without.moved.uids
    assert abs(refused.traffic.down - without.traffic.down) < 500  # how TLS cuts it into records differs a little
