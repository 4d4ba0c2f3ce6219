"""The other end of the wire: devices as state machines that speak the same bytes as the real ones.

Belongs here: what a device does with bytes and time, and servers that put it on a port.
Not here: drivers. An emulator is written from the documents alone and shares no code with the
driver that talks to it.
"""
