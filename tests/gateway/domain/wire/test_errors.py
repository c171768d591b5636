"""The CALLERROR codes and their spellings (A15)."""

from __future__ import annotations

import pytest

from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.wire.errors import CallFailed, ErrorCode, read_code


def test_16_spells_two_codes_otherwise() -> None:
    """A15: FormationViolation and Occurence with one r are 1.6's words."""
    spelled = {code: code.spell(Protocol.OCPP16) for code in ErrorCode}
    assert spelled[ErrorCode.FORMAT_VIOLATION] == "FormationViolation"
    assert spelled[ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION] == "OccurenceConstraintViolation"
    assert "RpcFrameworkError" not in spelled.values()
    assert "MessageTypeNotSupported" not in spelled.values()


@pytest.mark.parametrize("protocol", [Protocol.OCPP201, Protocol.OCPP21])
def test_2x_spells_them_as_they_are(protocol: Protocol) -> None:
    """The names of 2.x are our own."""
    assert all(code.spell(protocol) == code.value for code in ErrorCode)


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_spelling_is_read(code: ErrorCode) -> None:
    """A15: stations use each other's words, so both are accepted from any version."""
    assert read_code(code.value) is code
    if code.spell(Protocol.OCPP16) in {"FormationViolation", "OccurenceConstraintViolation"}:
        assert read_code(code.spell(Protocol.OCPP16)) in {
            ErrorCode.FORMAT_VIOLATION,
            ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION,
        }


def test_an_invented_code_is_unknown() -> None:
    """Design 9: real stations answer with codes of their own."""
    assert read_code("VendorError") is None


def test_a_description_is_at_most_255_characters() -> None:
    """A15."""
    assert len(CallFailed(ErrorCode.GENERIC_ERROR, "x" * 300).description) == 255
    assert str(CallFailed(ErrorCode.GENERIC_ERROR)) == "GenericError"
