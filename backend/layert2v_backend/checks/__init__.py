"""Checks a shot against every limit of its model and fills in every default. No wire.

A refusal lists every wrong field by its path from the request, such as `shot.layers[2].prompt`.
"""
