"""The sockets: listeners, the WebSockets of stations and the list of open connections.

The only room that knows `websockets`.
"""
