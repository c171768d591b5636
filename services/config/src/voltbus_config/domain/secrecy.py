"""What of a station's answer may be kept when its call carried a secret, or asked for one.

A password can travel in a call of the operator's own (`ChangeConfiguration(AuthorizationKey)`,
`SetVariables(SecurityCtrlr.BasicAuthPassword)`, `SetNetworkProfile`). Stations repeat what they do
not like in words, and some old ones tell their keys when asked for all: neither is stored
(ocpp-rules A6; OCPP 2.0.1 A01.FR.08/09).
"""

from __future__ import annotations

import re
from typing import Any

from voltbus_backbone.values.hidden import is_hidden, is_secret

HIDDEN = "(secret)"
_SECRET_ACTIONS = frozenset({"set_password"})
_OF_A_RESULT = ("attributeStatus", "attributeType", "component", "variable")
# What stays of an item that is a secret's: how it is called, and what became of it.
_ABOUT_A_SECRET = frozenset({*_OF_A_RESULT, "attributeStatusInfo", "key", "readonly"})
# Statuses of every version; a station may put there what it likes, also what it was given.
_WORD = re.compile(r"[A-Za-z]{1,40}")


def carries_secret(action: str, payload: Any) -> bool:
    """Return whether a call holds a secret, by the names in it."""
    if action in _SECRET_ACTIONS:
        return True
    if isinstance(payload, dict):
        if _find_secret_member(payload) is not None:
            return True
        return any(
            (is_secret(name) and isinstance(value, str)) or carries_secret("", value)
            for name, value in payload.items()
        )
    return isinstance(payload, list) and any(carries_secret("", each) for each in payload)


def redact_answer(answer: dict[str, Any] | None, *, secret: bool) -> dict[str, Any] | None:
    """Redact an answer before it is stored; ``secret``: its call carried one."""
    if answer is None:
        return None
    if not secret:
        found = _redact(answer)
        return found if isinstance(found, dict) else None
    status = answer.get("status")
    result: dict[str, Any] = {"status": status} if is_word(status) else {}
    results = answer.get("setVariableResult")
    if isinstance(results, list):
        result["setVariableResult"] = [
            _redact_result(each) for each in results if isinstance(each, dict)
        ]
    return result or None


def is_word(status: object) -> bool:
    """Whether it looks like a status of OCPP's, and so can be kept of an answer about a secret."""
    return isinstance(status, str) and _WORD.fullmatch(status) is not None


def _redact_result(result: dict[str, Any]) -> dict[str, Any]:
    """Keep which variable a SetVariables result is about, and its status."""
    found = {name: result[name] for name in _OF_A_RESULT if name in result}
    if not is_word(found.get("attributeStatus")):
        found.pop("attributeStatus", None)
    return found


def _redact(value: Any) -> Any:
    """Hide the values of secrets in answers to GetConfiguration and GetVariables."""
    if isinstance(value, list):
        return [_redact(each) for each in value]
    if not isinstance(value, dict):
        return value
    secret = _is_of_secret(value)
    return {
        name: HIDDEN if _holds_secret(name, each, secret=secret) else _redact(each)
        for name, each in value.items()
    }


def _is_of_secret(item: dict[str, Any]) -> bool:
    """Return whether an item is about a secret, under whatever name its value stands."""
    match item:
        case {"key": str(name)}:
            return is_secret(name)
        case {"variable": {"name": str(name)}}:
            return is_hidden(name)
    return False


def _holds_secret(name: str, value: Any, *, secret: bool) -> bool:
    """Stations answer with more than their schema has: only what is known to be harmless stays."""
    if value is None:
        return False
    return (secret and name not in _ABOUT_A_SECRET) or (is_secret(name) and isinstance(value, str))


def _find_secret_member(item: dict[str, Any]) -> str | None:
    """Find the member that holds the secret of a 1.6 key or a 2.x variable; None: no secret."""
    match item:
        case {"key": str(name), "value": _} if is_secret(name):
            return "value"
        case {"variable": {"name": str(name)}, "attributeValue": _} if is_hidden(name):
            return "attributeValue"
    return None
