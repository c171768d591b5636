"""What an agreement is and may become: values and ``now`` in, values out. No I/O.

``terms``      what the parties agreed, and the rules that hold in every state
``agreement``  those terms at one revision, and the names of states, commands and events
``lifecycle``  which command leads where, and what it makes of an agreement
``overlap``    which two agreements exclude each other
``usage``      energy, counted once per transaction
``refusals``   every way of saying no
``ids``        our own identifiers
"""
