"""Local authorization lists: what each station should hold, and the next step towards it.

`plans` say which tokens belong where, `entries` what a station is told of each, `station` what is
known of its list, `moves` what to send next, `answers` what became of it, `wire` OCPP's forms.
"""
