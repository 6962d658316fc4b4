"""The values for shots and jobs that the client and the backend share.

Frozen values of the standard library only. Each module mirrors a proto of `layert2v.v1`, and
`layert2v_wire` converts between the two.
"""
