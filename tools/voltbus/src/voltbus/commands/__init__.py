"""One module per command of `voltbus`; each has a function of the command's name.

`voltbus.__main__` imports a module to show its flags, so at its top a module imports only typer
and the standard library, and what is heavy inside its function.
"""
