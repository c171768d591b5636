"""What is made of a message that does not fit its schema: the fact is kept, side fields are mended.

``table`` says per version and action what is core and what becomes of the rest, ``fields`` joins it
with OCPP's own schema, ``mending`` applies it to a payload, ``reading`` is what sessions call.
Runs only where the compiled validator has refused (docs/adr/0012-core-facts.md).
"""
