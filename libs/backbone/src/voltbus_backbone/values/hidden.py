"""Which of a station's variables and keys are never shown: secrets, and who stands there.

One table for what is told (events), what is kept (answers) and what is shown (settings). The names
are OCPP's (1.6 §9.1 and its Security Whitepaper, 2.x Part 2 appendix), and what makers call theirs.
"""

from __future__ import annotations

import re

# Also in the middle of a maker's own name.
_SECRET = re.compile("password|secret|authorizationkey|privatekey|vpnkey|pin$", re.IGNORECASE)
# TokenReader's and ConnectedEV's variables hold what identifies a person.
_PERSONAL = frozenset({"token", "vehicleid"})


def is_secret(name: str) -> bool:
    """Whether what a station calls so opens a door."""
    return _SECRET.search(name) is not None


def is_hidden(name: str) -> bool:
    """Whether the value of a variable of this name is a secret, or identifies a person."""
    return name.casefold() in _PERSONAL or is_secret(name)
