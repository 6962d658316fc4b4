# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything of the add-on that needs no Blender. No bpy here: plain pytest runs it."""
