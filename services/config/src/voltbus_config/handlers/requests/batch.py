"""What the handling of one batch of requests gathers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voltbus_backbone.contract.values import Message
    from voltbus_config.domain.outgoing import OutgoingMessage


@dataclass
class Batch:
    """Answers (by the place of their event), messages, and stations to reconcile or that booted."""

    answers: dict[int, Message] = field(default_factory=dict)
    messages: list[OutgoingMessage] = field(default_factory=list)
    to_reconcile: list[str] = field(default_factory=list)
    booted: dict[str, str] = field(default_factory=dict)
