"""What an ended command makes of the settings that it was to bring."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from voltbus_backbone.contract.config import CommandStatus
from voltbus_backbone.contract.registry import SETTING_CHANGED
from voltbus_backbone.contract.stations import SettingChanged
from voltbus_config.domain import boot_requests
from voltbus_config.domain.commands import Purpose
from voltbus_config.domain.compile import Verdict, judge_answer, judge_error
from voltbus_config.domain.desired import (
    REFUSED,
    Desired,
    SettingState,
    StationSetting,
    acknowledge,
    refuse,
    schedule_retry,
)
from voltbus_config.domain.outgoing import OutgoingMessage

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_config.domain.commands import Command, SettingRef


def apply_command_result(desired: Desired, command: Command, now: datetime) -> Desired:
    """Return the desired state after a command ended: answered, refused or without an answer."""
    request = desired.boot_request
    if command.purpose is Purpose.REGISTRATION and request is not None:
        request = boot_requests.apply_answer(request, command)
        return msgspec.structs.replace(desired, boot_request=request)
    if not command.settings:
        return desired
    refs = {ref.key: ref for ref in command.settings}
    verdicts = _judge_command(command, list(refs))
    items = [
        _apply_verdict(item, refs[item.key], verdicts.get(item.key), command, now)
        if item.key in refs and item.command_id == command.id
        else item
        for item in desired.items
    ]
    kept = tuple(
        item for item in items if item.wanted is not None or item.state is SettingState.PENDING
    )
    return msgspec.structs.replace(desired, items=kept)


def _judge_command(command: Command, keys: list[str]) -> dict[str, Verdict | None]:
    if command.status is CommandStatus.ANSWERED and command.protocol is not None:
        found = judge_answer(
            command.protocol, command.action, keys, command.answer or {}, command.notes
        )
        missing = Verdict(SettingState.REJECTED, "the station left it out of its answer")
        return {key: found.get(key, missing) for key in keys}
    if command.status is CommandStatus.REJECTED:
        return dict.fromkeys(keys, judge_error(command.error_code))
    return dict.fromkeys(keys)


def _apply_verdict(
    item: StationSetting, ref: SettingRef, verdict: Verdict | None, command: Command, now: datetime
) -> StationSetting:
    if verdict is None:
        return schedule_retry(item, f"no answer: {command.status}", command.station_id, now)
    item = msgspec.structs.replace(item, protocol=command.protocol)
    if verdict.state in REFUSED:
        if item.wanted is None:
            # It was to be taken away; the station has no such thing, or keeps it: nothing is left
            # to be done about it.
            return refuse(item, SettingState.UNSUPPORTED, verdict.detail)
        return refuse(item, verdict.state, verdict.detail)
    return acknowledge(item, verdict.state, ref.target, verdict.detail, now)


def build_setting_events(before: Desired, after: Desired, at: datetime) -> list[OutgoingMessage]:
    """Build an event for each setting whose state or wanted generation changed, without values."""
    known = {item.key: item for item in before.items}
    result = []
    for item in after.items:
        old = known.get(item.key)
        if old is not None and (old.state, old.generation) == (item.state, item.generation):
            continue
        message = SettingChanged(
            station_id=after.id,
            key=item.key,
            state=item.state.value,
            generation=item.generation,
            at=at,
            layer=item.layer,
            detail=item.detail,
        )
        result.append(
            OutgoingMessage(
                SETTING_CHANGED, message, f"setting:{after.id}:{item.key}:{after.revision}"
            )
        )
    return result
