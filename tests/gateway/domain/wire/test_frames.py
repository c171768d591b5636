"""The OCPP-J codec (OCPP-J 1.6 §4, OCPP 2.x Part 4 §4)."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.wire import frames
from voltbus_gateway.domain.wire.errors import ErrorCode
from voltbus_gateway.domain.wire.frames import (
    Call,
    CallError,
    CallResult,
    CallResultError,
    FrameError,
    Send,
)

V16, V201, V21 = Protocol.OCPP16, Protocol.OCPP201, Protocol.OCPP21


def decode_refused(text: str | bytes, protocol: Protocol) -> FrameError:
    """The error that decoding this text must raise."""
    with pytest.raises(FrameError) as caught:
        frames.decode(text, protocol)
    return caught.value


@pytest.mark.parametrize("protocol", list(Protocol))
@pytest.mark.parametrize("text", ['[2,"7","Heartbeat",{}]', b'[2,"7","Heartbeat",{}]'])
def test_a_call(protocol: Protocol, text: str | bytes) -> None:
    """Text and bytes decode alike; an id may be a number written as text, as real stations do."""
    assert frames.decode(text, protocol) == Call("7", "Heartbeat", {})


def test_answers() -> None:
    """A CALLRESULT and a CALLERROR."""
    assert frames.decode('[3,"a",{"x":1}]', V16) == CallResult("a", {"x": 1})
    assert frames.decode('[4,"a","GenericError","why",{}]', V16) == CallError(
        "a", "GenericError", "why"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[4,"a"]', CallError("a", "GenericError")),
        ('[4,"a",null,null]', CallError("a", "GenericError")),
        ('[4,"a","Vendor",5,{}]', CallError("a", "Vendor")),
        ('[4,"a","' + "c" * 99 + '","' + "d" * 300 + '",{}]', CallError("a", "c" * 64, "d" * 255)),
    ],
)
def test_a_callerror_is_read_leniently(text: str, expected: CallError) -> None:
    """Whatever else is wrong with it, a CALLERROR says that our call failed."""
    assert frames.decode(text, V201) == expected


def test_send_and_callresulterror_of_21() -> None:
    """A17: 2.1 has two more message types."""
    assert frames.decode('[6,"a","NotifyPeriodicEventStream",{}]', V21) == Send(
        "a", "NotifyPeriodicEventStream", {}
    )
    assert frames.decode('[5,"a","FormatViolation","why",{}]', V21) == CallResultError(
        "a", "FormatViolation", "why"
    )


@pytest.mark.parametrize("text", ['[6,"a"]', '[6,5,"X",{}]', '[5,7,"x","y",{}]'])
def test_a_broken_send_or_callresulterror_is_never_answered(text: str) -> None:
    """A17: there is no answer to either, not even an error."""
    assert decode_refused(text, V21).answer is None


@pytest.mark.parametrize("kind", [5, 6, 7, 0, -1])
def test_an_unknown_message_type(kind: int) -> None:
    """A16: ignored in 1.6 and 2.1, MessageTypeNotSupported in 2.0.1."""
    text = f'[{kind},"a","Heartbeat",{{}}]'
    assert decode_refused(text, V16).answer is None
    if kind not in {5, 6}:
        assert decode_refused(text, V21).answer is None
    answer = decode_refused(text, V201).answer
    assert answer is not None
    assert (answer.id, answer.code) == ("a", "MessageTypeNotSupported")


UNREADABLE = [
    "",
    "not json",
    "[2,",
    b"\xff\xfe",
    "{}",
    "null",
    "42",
    '"[]"',
    "[]",
    "[[]]",
    '["2"]',
    "[2]",
    '[2,null,"Heartbeat",{}]',
    "[2.5]",
    "[1e400]",
    "[" * 5000,
]


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_has_no_readable_id_is_answered_with_minus_one(text: str | bytes) -> None:
    """A15: RpcFrameworkError for "-1" in 2.x; in 1.6 FormationViolation, its nearest word [P]."""
    for protocol, code in ((V16, "FormationViolation"), (V201, "RpcFrameworkError")):
        answer = decode_refused(text, protocol).answer
        assert answer is not None
        assert (answer.id, answer.code) == ("-1", code)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('[2,"a","Heartbeat"]', "RpcFrameworkError"),
        ('[2,"a","Heartbeat",{},1]', "RpcFrameworkError"),
        ('[2,"a",5,{}]', "RpcFrameworkError"),
        ('[2,"a"]', "RpcFrameworkError"),
        ('["2","a","Heartbeat",{}]', "RpcFrameworkError"),
        ('[2,"a","Heartbeat",null]', "FormatViolation"),
        ('[2,"a","Heartbeat",[]]', "FormatViolation"),
    ],
)
def test_a_broken_call_with_a_readable_id(text: str, code: str) -> None:
    """A15: the id is echoed; the code is in the version's spelling."""
    answer = decode_refused(text, V21).answer
    assert answer is not None
    assert (answer.id, answer.code) == ("a", code)
    answer = decode_refused(text, V16).answer
    assert answer is not None
    assert (answer.id, answer.code) == ("a", "FormationViolation")


def test_a_message_id_of_36_characters_is_the_longest() -> None:
    """A14: a longer one is refused, in 2.x as unreadable since it can't be echoed."""
    longest = "x" * 36
    assert frames.decode(f'[2,"{longest}","Heartbeat",{{}}]', V201) == Call(
        longest, "Heartbeat", {}
    )
    text = f'[2,"{longest}x","Heartbeat",{{}}]'
    answer = decode_refused(text, V201).answer
    assert answer is not None
    assert answer.id == "-1"
    answer = decode_refused(text, V16).answer
    assert answer is not None
    assert answer.id == longest + "x"


def test_a_message_id_that_is_a_number_is_refused() -> None:
    """Both versions say string[36]; 1.6 hears the number back as text, 2.x "-1"."""
    text = '[2,17,"Heartbeat",{}]'
    answer = decode_refused(text, V16).answer
    assert answer == CallError(
        "17",
        "FormationViolation",
        "The message id is no string of at most 36 characters",
    )
    answer = decode_refused(text, V21).answer
    assert answer is not None
    assert (answer.id, answer.code) == ("-1", "RpcFrameworkError")


@pytest.mark.parametrize("text", ['[3,"a"]', '[3,"a",null]', '[3,"a",[]]', '[3,"a",{},1]'])
def test_a_broken_answer_names_the_call_it_ends(text: str) -> None:
    """It isn't answered by the codec, but the session can end its call."""
    error = decode_refused(text, V16)
    assert error.answer is None
    assert error.answered_id == "a"


@pytest.mark.parametrize("text", ["[3]", "[3,5,{}]", "[4]", "[4,null]"])
def test_an_answer_without_an_id_is_ignored(text: str) -> None:
    """There is nothing to match it with, and answers are never answered."""
    error = decode_refused(text, V201)
    assert (error.answer, error.answered_id) == (None, None)


def test_encoding() -> None:
    """Every frame that we send, as text."""
    assert frames.encode_call("a", "Reset", {"type": "Soft"}) == b'[2,"a","Reset",{"type":"Soft"}]'
    assert frames.encode_result("a", {}) == b'[3,"a",{}]'
    assert (
        frames.encode_result_error("a", ErrorCode.FORMAT_VIOLATION, "why")
        == b'[5,"a","FormatViolation","why",{}]'
    )
    assert frames.encode_refusal(CallError("a", "X", "y")) == b'[4,"a","X","y",{}]'


def test_an_error_keeps_to_the_version_and_to_255_characters() -> None:
    """A15: the spelling of the version, a description of at most 255 characters."""
    text = frames.encode_error("a", ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION, "d" * 300, V16)
    assert orjson.loads(text) == [4, "a", "OccurenceConstraintViolation", "d" * 255, {}]
    text = frames.encode_error("a", ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION, "", V201)
    assert orjson.loads(text)[2] == "OccurrenceConstraintViolation"


def test_frames_do_not_show_their_payload() -> None:
    """A payload may hold an id token: no repr, and so no log line, shows it."""
    for frame in (
        Call("1", "Authorize", {"idTag": "SECRET"}),
        Send("1", "X", {"idTag": "SECRET"}),
        CallResult("1", {"idTag": "SECRET"}),
    ):
        assert "SECRET" not in repr(frame)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def orjson_text(value: object) -> bytes:
    """The value as JSON text; integers beyond 64 bits become floats."""
    return orjson.dumps(_small(value))


def _small(value: object) -> object:
    if isinstance(value, list):
        return [_small(inner) for inner in value]
    if isinstance(value, dict):
        return {_plain(name): _small(inner) for name, inner in value.items()}
    if isinstance(value, str):
        return _plain(value)
    if isinstance(value, int) and abs(value) >= 2**53:
        return 0
    return value


def _plain(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def answer_to(data: str | bytes, protocol: Protocol) -> CallError | None:
    """What a text that is no frame is answered with."""
    try:
        frames.decode(data, protocol)
    except FrameError as error:
        return error.answer
    return None


@given(st.text() | st.binary() | st.lists(json_values).map(orjson_text))
def test_nothing_makes_decoding_break(data: str | bytes) -> None:
    """Any text at all is a frame or a FrameError, and every answer is a sendable CALLERROR."""
    for protocol in Protocol:
        answer = answer_to(data, protocol)
        if answer is not None:
            assert orjson.loads(frames.encode_refusal(answer))[1] == answer.id
            assert len(answer.description) <= 255
