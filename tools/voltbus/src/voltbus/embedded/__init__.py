"""The embedded stack: real MongoDB, real Kafka and the services, from Python packages alone."""

from voltbus.embedded.plan import Plan
from voltbus.embedded.ports import Ports
from voltbus.embedded.stack import Stack, temporary_stack

__all__ = ["Plan", "Ports", "Stack", "temporary_stack"]
