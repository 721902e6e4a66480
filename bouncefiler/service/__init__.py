"""A clock: runs one job for each account every so often, until told to stop. It knows nothing of mail.

What a job raises (`errors`) decides when it runs again.
"""

from __future__ import annotations

from bouncefiler.service.clock import Limits
from bouncefiler.service.job import Job, Tick
from bouncefiler.service.process import run_service

__all__ = ["Job", "Limits", "Tick", "run_service"]
