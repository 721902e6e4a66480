"""Enhanced status codes (RFC 3463): class.subject.detail, such as 5.1.1."""

from __future__ import annotations

import re
from dataclasses import dataclass

_STATUS = re.compile(r"([245])\.([0-9]{1,3})\.([0-9]{1,3})")


@dataclass(frozen=True, slots=True, order=True)
class EnhancedStatus:
    """An RFC 3463 status; class 2 is success, 4 a persistent transient failure, 5 a permanent one."""

    class_: int
    subject: int
    detail: int

    @property
    def permanent(self) -> bool:
        """Whether the reporting server has given up for good (RFC 3463, 2)."""
        return self.class_ == 5

    @classmethod
    def parse(cls, text: str) -> EnhancedStatus | None:
        """Return the status that `text` is, or None when it is none."""
        match = _STATUS.fullmatch(text.strip())
        return cls(int(match[1]), int(match[2]), int(match[3])) if match else None

    def __str__(self) -> str:
        return f"{self.class_}.{self.subject}.{self.detail}"
