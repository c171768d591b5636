"""Logs and metrics, the same in every process.

Logs are JSON lines on standard error. A processor drops every field that could hold a secret or an
identifier of a person, so that a careless call cannot leak one.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import structlog
from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections.abc import MutableMapping

# Fields that may hold a token, a password or a whole payload. Their values never reach a log line.
HIDDEN = frozenset(
    {
        "additional",
        "authorization",
        "body",
        "data",
        "id_tag",
        "id_token",
        "key",
        "message",
        "password",
        "payload",
        "secret",
        "token",
        "value",
        "verifier",
    }
)

_LONGEST_TEMPLATE = 200

RECORDS = Counter(
    "voltbus_records_total",
    "Records handled, by consumption and outcome",
    ["consumption", "outcome"],
)
BATCH = Histogram(
    "voltbus_batch_records",
    "Records per batch",
    ["consumption"],
    buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000),
)
BATCH_SECONDS = Histogram("voltbus_batch_seconds", "Seconds to handle a batch", ["consumption"])
REFUSED = Counter(
    "voltbus_records_refused_total",
    "Records that Kafka will never store, given up, by topic and reason",
    ["topic", "reason"],
)
REPLIES = Counter("voltbus_replies_total", "Replies read from the inbox, by outcome", ["outcome"])
BROKEN = Counter(
    "voltbus_reader_broke_total", "Readers and background loops that broke, by name", ["reader"]
)
READY = Gauge("voltbus_ready", "1 while the process takes work")


def hide(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace the value of every sensitive field."""
    for name in event.keys() & HIDDEN:
        event[name] = "<hidden>"
    return event


def log_to_stderr(level: str, **fields: str) -> None:
    """Set up logging for a process; ``fields`` stand on every line."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            hide,
            shorten,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**fields)
    _log_libraries_as_json()


def _log_libraries_as_json() -> None:
    """Let libraries' warnings pass, in our form and with our masking.

    Libraries log values (hosts, group ids, at debug even payloads) and whole tracebacks, whose
    exceptions quote what they choked on: of each only the template of its message and the type and
    place of its exception are kept.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                name_library,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                shorten,
                structlog.processors.JSONRenderer(),
            ],
            use_get_message=False,
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("aiokafka", "uvicorn", "websockets", "pymongo"):
        logging.getLogger(name).setLevel(logging.ERROR)


def name_library(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Keep a library's message without its values, and the library's name beside it."""
    record: logging.LogRecord = event["_record"]
    template = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
    event["event"] = template.splitlines()[0][:_LONGEST_TEMPLATE] if template.strip() else ""
    event["library"] = record.name
    event.pop("stack_info", None)
    return event


def shorten(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """An exception as its type and place: its text could quote a value."""
    info = event.pop("exc_info", None)
    if info:
        error = sys.exc_info()[1] if info is True else info
        if isinstance(error, tuple):
            error = error[1]
        if isinstance(error, BaseException):
            event["error"] = type(error).__name__
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            if trace is not None:
                event["at"] = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
    return event
