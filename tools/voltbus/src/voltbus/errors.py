"""What a command tells the person at the terminal when it cannot go on.

    CommandError            exit code 2: wrong input or a machine that lacks something
    └── PartCrashed         exit code 1: a process that we started ended by itself

Each message is a sentence that says what to do next; `voltbus.__main__` prints it on stderr.
"""

from __future__ import annotations


class CommandError(Exception):
    """A command cannot do what it was asked; the message says why and what to do."""

    exit_code = 2


class PartCrashed(CommandError):  # noqa: N818 - named after what happened, like KeyboardInterrupt
    """A process of the stack ended although nobody asked it to, or never became ready."""

    exit_code = 1

    def __init__(self, name: str, reason: str, log_tail: str = "") -> None:
        """Name the process, say what happened to it, and show the end of its log."""
        self.name = name
        self.reason = reason
        self.log_tail = log_tail
        sentence = f"{name} {reason}."
        if log_tail:
            sentence += f" The end of its log:\n{log_tail}"
        super().__init__(sentence)
