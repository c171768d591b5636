"""Contract certificates (Plug and Charge, OCPP 2.x C07): values and ``now`` in, values out. No I/O.

``profile``     which keys, signatures and extensions are accepted (ISO 15118-2 and -20)
``chain``       from a presented certificate to a root that the operator trusts
``revocation``  what to ask OCSP responders, and what to believe of their answers (RFC 6960)
``outcome``     what all of it comes to: a certificate status and a decision
"""
