"""Converts protobuf to the backend's values and back, in addition to `layert2v_wire`.

This package checks the parts of requests that must be checked before anything reads them. `checks`
checks shots.
"""
