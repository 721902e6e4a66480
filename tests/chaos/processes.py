"""bouncefiler as a user starts it, behind the proxy: killed, stopped, paused at an exact point of its conversation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from tests.chaos.proxy import Fault, Harm, Moment
from tests.chaos.rounds import Patient

PATIENCE = 60.0


@dataclass(slots=True)
class Program:
    """The program with a configuration for a patient; its state is the patient's."""

    patient: Patient
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        server = self.patient.server
        folder = json.dumps(str(self.patient.state.parent))
        name = self.patient.state.stem
        self.config.write_text(
            f'state_dir = {folder}\n[accounts.{name}]\nhost = "127.0.0.1"\nport = {server.port}\n'
            f'user = "{server.user}"\nsecurity = "plain"\ntimeout = "20s"\ncompress = "never"\npoll_interval = "30s"\n'
            'password_from = { environment = "TEST_PASSWORD" }\n',
            encoding="utf-8",
        )

    @property
    def config(self) -> Path:
        """Where the configuration is."""
        return self.patient.state.with_suffix(".toml")

    @property
    def process(self) -> subprocess.Popen[str]:
        """The process that was started last."""
        return self.processes[-1]

    def start(self, *arguments: str, before: Sequence[str] = (), said: TextIO | None = None) -> subprocess.Popen[str]:
        """Start it; `before` is a command to start it by, such as prlimit; `said` takes all that it says."""
        command = [*before, sys.executable, "-m", "bouncefiler", "--config", str(self.config), *arguments]
        environment = {**os.environ, "TEST_PASSWORD": self.patient.dovecot.variant.password, "LANG": "C.UTF-8"}
        self.processes.append(
            subprocess.Popen(
                command, env=environment, text=True, stdout=said or subprocess.PIPE, stderr=said or subprocess.PIPE
            )
        )
        return self.process

    def finish(self) -> tuple[int, str]:
        """Wait for the process; return its exit status and all that it said."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out + err

    def run(self, *arguments: str, before: Sequence[str] = ()) -> tuple[int, str]:
        """Start it and wait."""
        self.start(*arguments, before=before)
        return self.finish()

    def interrupted(self, at: int, moment: Moment, strike: Callable[[], None], *, cut: bool = False) -> tuple[int, str]:
        """Clean, with `strike` called at this moment of the conversation, while the program waits for the answer.

        With `cut` the connection ends with it, so that what the program had not sent never reaches the server.
        """
        self.patient.proxy.arm(Fault(Harm.CUT if cut else Harm.NONE, moment, at, meanwhile=strike))
        self.start("clean")
        return self.finish()

    def kill(self) -> None:
        """End the process at once (SIGKILL)."""
        self.process.kill()
        self.process.wait()
