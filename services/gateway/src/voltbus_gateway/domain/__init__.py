"""What a gateway knows about OCPP: pure, no input or output, time and ids injected.

``frames`` the OCPP-J codec · ``errors`` the CALLERROR codes · ``schemas`` payload validation ·
``session`` the state machine of one connection · ``routes`` the table from action to contract
(``v16``, ``v201``, ``v21``) · ``commands`` the calls towards stations · ``registration`` who may
speak before it is accepted.
"""
