"""Between the wire and the domain: protobuf of `layert2v.v1` to values and back, each once.

The client and the backend both speak through it. Nothing is checked here: a message that says
nonsense becomes a value that says nonsense.
"""
