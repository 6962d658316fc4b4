"""The words in which the service speaks of shots and jobs: what the client and the backend share.

Frozen values of the standard library only. Each module mirrors a proto of `layert2v.v1`;
`layert2v_wire` converts between the two.
"""
