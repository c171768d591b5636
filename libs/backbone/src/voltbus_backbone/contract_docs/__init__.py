"""The contract as documents: JSON Schemas, an AsyncAPI description, and a page to read.

All of it is generated from ``contract.registry.TYPES``. ``python -m
voltbus_backbone.contract_docs`` writes it into ``docs``; ``compatibility`` says what a new schema
breaks of an old one.
"""
