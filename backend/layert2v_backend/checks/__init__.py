"""What of a shot a model can make: every limit, and every default that is filled in. No wire.

A refusal lists every wrong field by its path from the request, `shot.layers[2].prompt`.
"""
