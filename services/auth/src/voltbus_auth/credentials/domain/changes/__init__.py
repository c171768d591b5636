"""Changes of what a station logs in with, from the operator's wish to the station's log-in.

`change` is the value and its states, `following` moves it by what is heard, `rotation` and
`upgrade` know the steps of a new password and of a higher security profile.
"""
