"""What speaks for a diagnosis, in plain numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bouncefiler.backscatter.diagnosis import Burst, Sign, Tally
from bouncefiler.recognition.verdict import Cause

CLEAR = 3
"""So many bounces that are known to be of forged mail make it clear that there is forged mail."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known about an incident beside its numbers."""

    causes: tuple[tuple[Cause, int], ...] = ()
    tally: Tally | None = None
    """What the bounces of the last 24 hours show; None when nobody has asked."""
    signs: tuple[Sign, ...] = ()
    burst: Burst = field(default_factory=Burst)
    provider: str = ""
    """Who says that the account is blocked."""
    looked_up: bool = True
    """Whether the sent mail is known."""
    dead: tuple[str, ...] = ()
    """Addresses that the owner wrote to and that do not exist. Untrusted."""
    posture: tuple[str, ...] = ()
    """Lines on SPF, DKIM and DMARC of the owner's domain, in the reader's language."""

    @property
    def shown_forged(self) -> bool:
        """Whether there is evidence that the owner has not sent the returned messages, and none that they have."""
        told = self.tally
        if told is None or self.signs or told.in_sent or told.wrote_to:
            return False
        if told.provider_signed_unsent or told.signed_unsent:
            return False
        shown = told.forged + told.never_wrote
        return shown >= CLEAR and 2 * shown >= told.bounces


def evidence_lines(found: Findings, words: Mapping[str, Any], number: Callable[[float], str]) -> tuple[str, ...]:
    """Say what the bounces of the last 24 hours show, the strongest first; `number` writes one as the language does."""
    told = found.tally
    if told is None or not told.bounces:
        return ()
    return (*_of_signs(found, told, words, number), *_of_comparison(found, told, words, number))


def _counted(words: Any, n: int, number: Callable[[float], str], **further: int) -> str:
    one, many = words
    return str((one if n == 1 else many).format(n=number(n), **{name: number(m) for name, m in further.items()}))


def _of_signs(found: Findings, told: Tally, words: Mapping[str, Any], number: Callable[[float], str]) -> Iterator[str]:
    for sign in found.signs:
        match sign:
            case Sign.BLOCKED:
                yield str(words[sign].format(provider=found.provider))
            case Sign.SIGNED_UNSENT:
                yield _counted(words[sign], told.signed_unsent, number)
            case Sign.PROVIDER_SIGNED_UNSENT:
                yield _counted(words[sign], told.provider_signed_unsent, number)
            case Sign.BURST:
                burst = found.burst
                told_of = {"recipients": number(burst.recipients), "strangers": number(burst.strangers)}
                yield str(words[sign].format(**told_of))


def _of_comparison(
    found: Findings, told: Tally, words: Mapping[str, Any], number: Callable[[float], str]
) -> Iterator[str]:
    if told.in_sent and told.not_in_sent:
        yield _counted(words["some-in-sent"], told.in_sent, number, others=told.not_in_sent)
    elif told.in_sent:
        yield _counted(words["all-in-sent"], told.in_sent, number)
    elif told.not_in_sent:
        yield _counted(words["none-in-sent"], told.not_in_sent, number)
    elif told.never_wrote and not told.wrote_to:
        yield _counted(words["never-wrote"], told.never_wrote, number)
    elif told.wrote_to:
        yield _counted(words["wrote-to"], told.wrote_to, number)
    elif not told.with_id:
        yield str(words["nothing-returned"])
    elif not found.looked_up:
        yield str(words["not-looked-up"])
    if told.refused_as_forged:
        yield _counted(words["refused-as-forged"], told.refused_as_forged, number)
