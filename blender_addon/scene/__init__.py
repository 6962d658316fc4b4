# SPDX-License-Identifier: GPL-3.0-or-later
"""What touches strips and scenes. The only place where the session's thread meets bpy."""
