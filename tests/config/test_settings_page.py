"""docs/settings.md says what the code does."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from voltbus_config.api.bodies import Method, NewCommand, SettingsBody
from voltbus_config.domain.desired import SettingState
from voltbus_config.domain.layers import LayerKind
from voltbus_config.domain.shapes import SHAPES

PAGE = (Path(__file__).parents[2] / "docs/settings.md").read_text()


def test_every_setting_state_and_payment_method_is_on_the_page() -> None:
    """What an operator may write and read is explained."""
    words = [*SettingsBody.model_fields, *SettingState, *get_args(Method)]
    assert [word for word in words if f"`{word}`" not in PAGE] == []


def test_every_command_and_its_members_are_on_the_page() -> None:
    """Each action has its row, with each member of its payload."""
    for action, shape in SHAPES.items():
        [row] = [line for line in PAGE.splitlines() if line.startswith(f"| `{action}` |")]
        missing = [name for name in shape.__struct_fields__ if f"`{name}`" not in row]
        assert missing == []
    assert all(f'"{name}"' in PAGE for name in NewCommand.model_fields)


def test_the_layers_are_on_the_page_in_their_order() -> None:
    """The order is the rule."""
    assert " < ".join(LayerKind) in PAGE
