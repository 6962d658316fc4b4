"""Converts protobuf of `layert2v.v1` to values of the domain and back, each in one place.

The client and the backend both use it. It checks nothing, so a message with nonsense becomes a
value with nonsense.
"""
