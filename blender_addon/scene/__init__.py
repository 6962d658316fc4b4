# SPDX-License-Identifier: GPL-3.0-or-later
"""Strips and scenes. Only here do events of the session's thread meet bpy."""
