"""Frames on disk: pictures, EXR, folders of a shot, and durable writing."""
