"""The CALLERROR codes of OCPP-J, and how each version spells them.

OcppError
├── CallFailed   a call is answered with a CALLERROR of this code
└── FrameError   a text is no OCPP-J message (in ``frames``); says what to answer, if anything

Descriptions name fields, never values: a value may be an id token.
"""

from __future__ import annotations

from enum import StrEnum

from voltbus_backbone.contract.values import Protocol

# OCPP-J limits errorDescription to 255 characters (1.6 §4.2.3; 2.x Part 4 §4.2.3).
DESCRIPTION_LIMIT = 255


class ErrorCode(StrEnum):
    """Every code, by its OCPP 2.x spelling."""

    FORMAT_VIOLATION = "FormatViolation"
    GENERIC_ERROR = "GenericError"
    INTERNAL_ERROR = "InternalError"
    MESSAGE_TYPE_NOT_SUPPORTED = "MessageTypeNotSupported"
    NOT_IMPLEMENTED = "NotImplemented"
    NOT_SUPPORTED = "NotSupported"
    OCCURRENCE_CONSTRAINT_VIOLATION = "OccurrenceConstraintViolation"
    PROPERTY_CONSTRAINT_VIOLATION = "PropertyConstraintViolation"
    PROTOCOL_ERROR = "ProtocolError"
    RPC_FRAMEWORK_ERROR = "RpcFrameworkError"
    SECURITY_ERROR = "SecurityError"
    TYPE_CONSTRAINT_VIOLATION = "TypeConstraintViolation"

    def spell(self, protocol: Protocol) -> str:
        """Spell the code as that version does; 1.6 has no word for two of them."""
        if protocol is Protocol.OCPP16:
            return _IN_16.get(self, self.value)
        return self.value


_IN_16 = {
    ErrorCode.FORMAT_VIOLATION: "FormationViolation",
    ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION: "OccurenceConstraintViolation",
    ErrorCode.RPC_FRAMEWORK_ERROR: "FormationViolation",
    ErrorCode.MESSAGE_TYPE_NOT_SUPPORTED: "NotSupported",
}

_BY_SPELLING: dict[str, ErrorCode] = {
    **{code.value: code for code in ErrorCode},
    "FormationViolation": ErrorCode.FORMAT_VIOLATION,
    "OccurenceConstraintViolation": ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION,
}


def read_code(text: str) -> ErrorCode | None:
    """The code that a station meant, whatever its version's spelling; None when unknown.

    Real stations mix the spellings (1.6's words in 2.0.1) and invent codes of their own.
    """
    return _BY_SPELLING.get(text)


class OcppError(Exception):
    """The root: everything the gateway's domain raises on purpose."""


class CallFailed(OcppError):  # noqa: N818 - what happened to the call
    """The call gets a CALLERROR. ``description`` is for the other side's engineer."""

    def __init__(self, code: ErrorCode, description: str = "") -> None:
        super().__init__(f"{code}: {description}" if description else str(code))
        self.code = code
        self.description = description[:DESCRIPTION_LIMIT]
