"""The data engine: raw video to shots, subjects, mattes, clean plate, captions, checked clips.

Each tool is a small model or rule that runs on a CPU, or an adapter to a large one.
"""
