"""The values that compiling a setting takes and gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from voltbus_config.domain.desired import SettingState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class Unsupported(Exception):  # noqa: N818 - a station's state, named as the contract names it
    """This OCPP version, or this station, can't have the setting; the sentence says why."""


@dataclass(frozen=True)
class SettingTarget:
    """What one setting is to become. ``value`` None takes it away again.

    ``since`` is when it was first wanted: the start of an absolute charging schedule.
    """

    key: str
    value: Any
    since: datetime


@dataclass(frozen=True)
class SettingCall:
    """A call and the settings that it brings. ``notes`` are kept for ``judge_answer``."""

    action: str
    payload: dict[str, Any]
    keys: tuple[str, ...]
    notes: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What an answer makes of a setting."""

    state: SettingState
    detail: str | None = None


@dataclass(frozen=True)
class CompileOptions:
    """What the operator configures of the compilation.

    ``payment_keys``: the 1.6 configuration key by vendor that takes the payment methods as a list
    with commas ("*" for any vendor); OCPP 1.6 has none of its own.
    """

    vendor: str = ""
    profile_id: int = 7001
    stack_level: int = 0
    variables_per_call: int = 10
    payment_keys: Mapping[str, str] = field(default_factory=dict)


_FINAL = {
    "NotImplemented": SettingState.UNSUPPORTED,
    "NotSupported": SettingState.UNSUPPORTED,
    "InternalError": None,
    "GenericError": None,
    "RpcFrameworkError": None,
}


def judge_error(code: str | None) -> Verdict | None:
    """Judge the settings of a call by its CALLERROR; None: try again later."""
    state = _FINAL.get(code or "GenericError", SettingState.REJECTED)
    return None if state is None else Verdict(state, f"the station answered {code}")


def judge_status(status: object, table: Mapping[str, SettingState]) -> Verdict:
    """Judge a status by its table; a word that no version knows counts as a refusal."""
    word = status if isinstance(status, str) else "(no status)"
    state = table.get(word, SettingState.REJECTED)
    said = state is SettingState.IN_SYNC and word == "Accepted"
    return Verdict(state, None if said else f"the station answered {word[:50]}")
