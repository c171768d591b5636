"""The command line: one subcommand per module of `voltbus.commands`.

Exit codes: 0 done, 1 something we started failed, 2 wrong input or a machine that lacks something
(one line on stderr), 130 interrupted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING

import typer

from voltbus.commands.agreement import agreement
from voltbus.commands.dead_letters import dead_letters
from voltbus.commands.demo import demo
from voltbus.commands.events import events
from voltbus.commands.reservation import reservation
from voltbus.commands.rotation import rotate, rotations
from voltbus.commands.simulate import simulate
from voltbus.commands.station import station
from voltbus.commands.token import token
from voltbus.commands.topics import topics
from voltbus.commands.transaction import transaction
from voltbus.commands.up import up
from voltbus.errors import CommandError
from voltbus.printable import printable
from voltbus_backbone.errors import VoltbusError

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130
USAGE = 2
OURS_TO_MEND = 1

app = typer.Typer(
    name="voltbus",
    help="Voltbus: the open, event-driven backend for EV charging.",
    epilog="Start with 'voltbus up'; 'voltbus COMMAND --help' shows examples.",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,  # `run` turns every error into a sentence
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _help_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.command()(up)
app.command()(topics)
app.command()(simulate)
app.command()(events)
app.command()(demo)
app.command()(dead_letters)
station.command()(rotate)
app.command()(rotations)
app.add_typer(station)
app.add_typer(token)
app.add_typer(agreement)
app.add_typer(reservation)
app.add_typer(transaction)


def main() -> None:
    """Run the command line of this process."""
    # What libraries log is not for the person at the terminal: they get our sentences.
    logging.getLogger().addHandler(logging.NullHandler())
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; an error is a sentence on stderr, never a trace."""
    try:
        code = app(args=list(arguments), prog_name="voltbus", standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return 0
    except Exception as error:
        sentence, code = _explain(error)
        sys.stderr.write(f"voltbus: {printable(sentence)}\n")
        if os.environ.get("VOLTBUS_DEBUG"):
            raise
    return code if isinstance(code, int) else 0


def _explain(error: Exception) -> tuple[str, int]:
    """What to say about an error, and the exit code."""
    if isinstance(error, CommandError):
        return str(error), error.exit_code
    if isinstance(error, VoltbusError):
        return f"{error}.", USAGE
    if isinstance(error, typer.TyperException):
        return _usage(error), USAGE
    # The text of an unknown error may hold anything, also a secret: only its kind is shown.
    return (
        f"this should not have happened ({type(error).__name__}): it is a defect of Voltbus. "
        "Run again with VOLTBUS_DEBUG=1 to see where."
    ), OURS_TO_MEND


def _usage(error: typer.TyperException) -> str:
    """What is wrong with the command line, and which help to read."""
    context: typer.Context | None = getattr(error, "ctx", None)
    command = context.command_path if context else "voltbus"
    sentence = " ".join(error.format_message().split()).rstrip(".")
    return f"{sentence}. Try '{command} --help'."


def _silence_stdout() -> None:
    """Whoever read our output has gone (`voltbus ... | head`): there is nobody left to tell."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
