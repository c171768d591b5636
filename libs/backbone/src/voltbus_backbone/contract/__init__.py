"""The messages between the services, and the events that anyone may subscribe to.

One module per owner. A message is a frozen ``msgspec.Struct``; its wire form is JSON with the same
snake_case names, UTC timestamps in RFC 3339, and optionals left out. ``registry`` says which type
travels on which topic under which key. The wire form may only ever gain optional fields.
"""
