"""Converts protobuf to the backend's values and back, in addition to `layert2v_wire`.

The parts of requests that must be checked before anything reads them are checked here; shots are
checked by `checks`.
"""
