"""Protobuf to domain and back; all validation of requests is here.

A refusal lists every wrong field by its path from the request, `shot.layers[2].prompt`.
"""
