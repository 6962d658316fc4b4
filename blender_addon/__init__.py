# SPDX-License-Identifier: GPL-3.0-or-later
"""LayerT2V for Blender: layered prompts become strips in the sequencer.

Importing this package imports no bpy; `register` does.
"""


def register() -> None:
    """Add the panels, operators and handlers to Blender."""
    from . import ui

    ui.register()


def unregister() -> None:
    """Take everything out again; what runs goes on if the add-on comes back at once."""
    from . import ui

    ui.unregister()
