"""From the operator's word to OCPP calls, and from their answers to a setting's state. Pure.

``v16`` and ``v2`` know the versions; ``calls`` and ``judge`` choose. The standard's gaps are in the
table of docs/settings.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus_backbone.contract.values import Protocol
from voltbus_config.domain.compile import v2, v16
from voltbus_config.domain.compile.forms import (
    Call,
    Options,
    Target,
    Unsupported,
    Verdict,
    of_error,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Call", "Options", "Target", "Unsupported", "Verdict", "calls", "judge", "of_error"]


def calls(
    protocol: Protocol, targets: Sequence[Target], options: Options
) -> tuple[list[Call], dict[str, str]]:
    """The calls that bring these settings to a station, in order, and what cannot be brought.

    The second value maps a setting's key to the reason why this version can't have it.
    """
    compiled = v16.compiled if protocol is Protocol.OCPP16 else v2.compiled
    result: list[Call] = []
    unsupported: dict[str, str] = {}
    variables: list[v2.Write] = []
    for target in targets:
        try:
            made: Sequence[Call | v2.Write] = compiled(target, protocol, options)
        except Unsupported as error:
            unsupported[target.key] = str(error)
            continue
        for each in made:
            if isinstance(each, v2.Write):
                variables.append(each)
            else:
                result.append(each)
    result.extend(v2.batched(variables, options.variables_per_call))
    return result, unsupported


def judge(
    protocol: Protocol, action: str, keys: Sequence[str], payload: dict[str, Any], notes: Any
) -> dict[str, Verdict]:
    """What an answer says of each setting that the call was to bring.

    ``notes`` are the call's own (``Call.notes``), as they were stored.
    """
    judged = v16.judged if protocol is Protocol.OCPP16 else v2.judged
    return judged(action, keys, payload, notes)
