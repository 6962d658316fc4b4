# SPDX-License-Identifier: GPL-3.0-or-later
"""LayerT2V for Blender: layered prompts become strips in the sequencer.

This package imports no bpy until `register` is called.
"""


def register() -> None:
    """Add the panels, operators and handlers to Blender."""
    from . import ui

    ui.register()


def unregister() -> None:
    """Take everything out again. Jobs go on if the add-on comes back at once."""
    from . import ui

    ui.unregister()
