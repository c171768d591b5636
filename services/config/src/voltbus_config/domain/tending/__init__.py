"""What a station needs now: one pure decision over everything that config knows of it.

Called when something happened to the station or one of its times came. Commands whose time is up
end, the layers are laid anew, what is not at the station becomes commands, the next command goes
out, and what others should know is told. Called twice, the second call changes nothing.
"""

from voltbus_config.domain.tending.answers import ended, setting_events
from voltbus_config.domain.tending.case import Case, Decision, Terms
from voltbus_config.domain.tending.look import decide

__all__ = ["Case", "Decision", "Terms", "decide", "ended", "setting_events"]
