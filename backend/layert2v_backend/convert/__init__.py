"""Protobuf to the backend's values and back, beside what `layert2v_wire` converts for everyone.

The parts of requests that must be checked before anything reads them are checked here; shots are
checked by `checks`.
"""
