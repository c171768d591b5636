"""Compile settings into OCPP calls, and judge the answers. Pure.

``v16`` and ``v2`` know the versions; ``compile_calls`` and ``judge_answer`` choose. The
standard's gaps are in the table of docs/settings.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus_backbone.contract.values import Protocol
from voltbus_config.domain.compile import v2, v16
from voltbus_config.domain.compile.forms import (
    CompileOptions,
    SettingCall,
    SettingTarget,
    Unsupported,
    Verdict,
    judge_error,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "CompileOptions",
    "SettingCall",
    "SettingTarget",
    "Unsupported",
    "Verdict",
    "compile_calls",
    "judge_answer",
    "judge_error",
]


def compile_calls(
    protocol: Protocol, targets: Sequence[SettingTarget], options: CompileOptions
) -> tuple[list[SettingCall], dict[str, str]]:
    """Compile settings into the calls that bring them, in order, and what cannot be brought.

    The second value maps a setting's key to the reason why this version can't have it.
    """
    compiled = v16.compile_setting if protocol is Protocol.OCPP16 else v2.compile_setting
    result: list[SettingCall] = []
    unsupported: dict[str, str] = {}
    variables: list[v2.Write] = []
    for target in targets:
        try:
            made: Sequence[SettingCall | v2.Write] = compiled(target, protocol, options)
        except Unsupported as error:
            unsupported[target.key] = str(error)
            continue
        for each in made:
            if isinstance(each, v2.Write):
                variables.append(each)
            else:
                result.append(each)
    result.extend(v2.batch_writes(variables, options.variables_per_call))
    return result, unsupported


def judge_answer(
    protocol: Protocol, action: str, keys: Sequence[str], payload: dict[str, Any], notes: Any
) -> dict[str, Verdict]:
    """Judge by an answer each setting that the call was to bring.

    ``notes`` are the call's own (``SettingCall.notes``), as they were stored.
    """
    judged = v16.judge_answer if protocol is Protocol.OCPP16 else v2.judge_answer
    return judged(action, keys, payload, notes)
