"""The commands: parse the arguments, call one thing in `app`, print what comes back. Only here is printed or exited."""

from __future__ import annotations

import atexit
import gc
import logging
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from bouncefiler import __version__
from bouncefiler.errors import BouncefilerError

ROOMS = {  # module → its commands, each with what `--help` says of it
    "filing": {
        "preview": "Show what would be filed, and why.",
        "clean": "File the bounces.",
    },
    "past": {
        "undo": "Put filed messages back.",
        "history": "List what was filed, and when.",
    },
    "reports": {
        "status": "Say whether all is well.",
        "report": "Tell on a page what has happened.",
        "export": "Write dead addresses into a file.",
    },
    "answers": {
        "explain": "Say what a mail is, and how that is known.",
        "posture": "Look how your domain is protected against forgery.",
        "folders": "List the folders of an account.",
    },
    "alerts": {
        "alert": "Try the channels that alerts come through.",
        "notice": "Write a letter that warns your contacts; you send it.",
    },
    "setup": {
        "login": "Keep the password of an account in your keyring.",
        "run": "Watch all accounts, as a service.",
    },
}

EXIT_CODES = """\b
Exit codes:
  0   done
  1   explain: a file could not be read
  2   the command line is wrong
  69  the server, or an alert channel, can't be reached: try again later
  73  no room, or a folder or file can't be made
  74  the state file is damaged or can't be written
  75  busy, throttled, or stopped to ask   try again later
  76  the certificate isn't trusted, or the server can't move mail safely
  77  the password, or the access token, was refused
  78  the configuration or the password's source is wrong
"""


class Listed(click.Command):
    """What is known of a command before its module is loaded."""

    def __init__(self, name: str, short_help: str, module: str) -> None:
        super().__init__(name, short_help=short_help)
        self.module = module

    def load(self) -> click.Command:
        """Return the command itself."""
        command: click.Command = getattr(import_module(f"bouncefiler.cli.{self.module}"), str(self.name))
        return command


class Commands(click.Group):
    """Loads a command when it is called, and turns our errors into one line and an exit code."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is called."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, Listed) else command, rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BouncefilerError as exc:
            from bouncefiler.cli.terminal import complain  # noqa: PLC0415 - --help must not load the program

            complain(str(exc))
            ctx.exit(exc.exit_code)


@click.group(
    cls=Commands,
    commands=[Listed(name, text, module) for module, commands in ROOMS.items() for name, text in commands.items()],
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="bouncefiler")
@click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The configuration file. [default: ~/.config/bouncefiler/config.toml, then /etc/bouncefiler/config.toml]",
)
@click.pass_context
def main(ctx: click.Context, config: Path | None) -> None:
    """Find delivery failures in your mailbox, file them, and hear about it when somebody abuses your address.

    \b
    A first time:
      bouncefiler login home     ask for the password of [accounts.home] and keep it in your keyring
      bouncefiler preview        show what would be filed, and why; changes nothing
      bouncefiler clean          do it
      bouncefiler run            go on doing it, as a service

    Nothing is ever deleted: messages are moved to a folder of yours, unread ones stay unread, and
    `bouncefiler undo` puts them back.
    """  # noqa: D301 - \b is click's mark for a paragraph that is not to be reflowed
    ctx.obj = config
    atexit.register(gc.freeze)  # what is left at the end goes with the process; to search it for cycles takes 25 ms
    logging.getLogger("bouncefiler").addHandler(logging.NullHandler())  # what `clean` has to say, it prints
