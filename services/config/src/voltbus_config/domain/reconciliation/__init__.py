"""What a station needs now: one pure decision over everything that config knows of it.

Called when something happened to the station or one of its times came. Commands whose time is up
end, the layers are resolved again, settings that the station lacks become commands, the next
command is sent, and changes are published. Called twice, the second call changes nothing.
"""

from voltbus_config.domain.reconciliation.command_results import (
    apply_command_result,
    build_setting_events,
)
from voltbus_config.domain.reconciliation.inputs import Decision, ReconcilerConfig, StationSnapshot
from voltbus_config.domain.reconciliation.steps import reconcile

__all__ = [
    "Decision",
    "ReconcilerConfig",
    "StationSnapshot",
    "apply_command_result",
    "build_setting_events",
    "reconcile",
]
