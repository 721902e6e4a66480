"""When the runs are due, and the threads that do them: the door to APScheduler."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any

from apscheduler.events import EVENT_JOB_MAX_INSTANCES
from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.interval import IntervalTrigger

from bouncefiler.service.account import Account
from bouncefiler.service.clock import JITTER
from bouncefiler.service.job import nothing

MOST_WORKERS = 8
"""How many accounts are worked on at once."""


Message = Callable[[], None]
"""What the service's own thread is to do next."""


class Workers(BaseExecutor):  # type: ignore[misc]  # APScheduler has no types
    """APScheduler's executor: a few threads, and daemons, so that a hung one can't keep the process from ending."""

    def __init__(self, post: Callable[[Message], None], in_hand: Callable[[Account], None]) -> None:
        super().__init__()
        self._post = post
        self._in_hand = in_hand
        self._tasks: SimpleQueue[tuple[Callable[[], Message], Message] | None] = SimpleQueue()
        self._threads = 0
        self._pending = 0

    def do(self, work: Callable[[], Message], before: Message = nothing) -> None:
        """Do the work in a thread, then, in the service's own, `before` and the message that came of the work."""
        if self._threads < min(self._pending + 1, MOST_WORKERS):
            Thread(target=self._serve, name=f"worker-{self._threads}", daemon=True).start()
            self._threads += 1
        self._tasks.put((work, before))
        self._pending += 1

    def shutdown(self, wait: bool = True) -> None:  # noqa: ARG002, FBT001, FBT002 - APScheduler's signature
        """Let each thread end when it has nothing in hand."""
        for _ in range(self._threads):
            self._tasks.put(None)

    def _do_submit_job(self, job: Any, run_times: object) -> None:  # noqa: ARG002 - APScheduler's signature
        self._in_hand(*job.args)
        # That a job is over is told to APScheduler in the service's own thread too, or it could start the next run
        # before it is known what came of this one.
        self.do(partial(job.func, *job.args), before=partial(self._run_job_success, job.id, ()))

    def _serve(self) -> None:
        while (task := self._tasks.get()) is not None:
            work, before = task
            self._post(partial(self._done, before, work()))

    def _done(self, before: Message, message: Message) -> None:
        self._pending -= 1
        before()
        message()


class Timetable(BaseScheduler):  # type: ignore[misc]  # APScheduler has no types
    """APScheduler without a thread of its own: it works when it is turned.

    It goes by the wall clock, the only one it knows; `shift` undoes the harm when that is set.
    """

    def __init__(self, workers: Workers, skipped: Callable[[str], None]) -> None:
        """Let the workers do what is due; call `skipped` with the account's name when its last run goes on still."""
        # That a run is skipped while the last one goes on is known here and made good; nobody need read it.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        super().__init__(timezone=UTC, executors={"default": workers})
        self.add_listener(lambda event: skipped(event.job_id), EVENT_JOB_MAX_INSTANCES)

    def wakeup(self) -> None:
        """Do nothing: only the thread that turns it changes it."""

    def shutdown(self) -> None:
        """Start nothing any more, and wait for nothing."""
        super().shutdown(wait=False)

    def turn(self) -> float | None:
        """Start what is due; return in how many seconds to come again, None when nothing is planned."""
        seconds: float | None = self._process_jobs()
        return seconds

    def plan(self, account: Account, run: Callable[[Account], Message], when: datetime) -> None:
        """Run it next at this time, and at its interval from then on."""
        if job := self.get_job(account.job.name):
            job.modify(next_run_time=when)
            return
        seconds = account.job.interval.total_seconds()
        self.add_job(
            run,
            IntervalTrigger(seconds=seconds, jitter=JITTER * seconds, timezone=UTC),
            args=(account,),
            id=account.job.name,
            next_run_time=when,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,  # late is better than never, however late
        )

    def bring_forward(self, name: str, when: datetime) -> None:
        """Run it at this time, unless it is run before that anyway, or not at all."""
        job = self.get_job(name)
        if job and when < job.next_run_time:
            job.modify(next_run_time=when)

    def drop(self, name: str) -> None:
        """Run it no more."""
        if self.get_job(name):
            self.remove_job(name)

    def shift(self, seconds: float) -> None:
        """Run all so many seconds later."""
        for job in self.get_jobs():
            job.modify(next_run_time=job.next_run_time + timedelta(seconds=seconds))

    def late(self, now: datetime) -> float:
        """Return by how many seconds the most belated job is late."""
        return max(((now - job.next_run_time).total_seconds() for job in self.get_jobs()), default=0.0)
