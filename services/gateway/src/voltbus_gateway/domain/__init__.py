"""What a gateway knows about OCPP: pure, no input or output, time and ids injected.

- ``session`` the state machine of one connection, made of ``inbound`` (we answer) and ``outbound``
  (we ask); it gives ``effects``
- ``frames`` the OCPP-J codec, ``errors`` the CALLERROR codes, ``schemas`` payload validation
- ``routes`` the table from action to contract, made of ``v16``, ``v201``, ``v21`` and
  ``every_version``; ``route`` says what a row is, ``routes_page`` writes it to docs/actions.md
- ``decisions``, ``samples``, ``reports``, ``times``, ``limits`` what translations share
- ``commands`` the calls towards stations, ``registration`` who may speak before it is accepted
"""
