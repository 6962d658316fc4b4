"""Scenes that are composed of sprites and photographs."""
