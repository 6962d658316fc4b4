"""Clips from files: VidLayer as published, the user's own layered renders, and what is wrong there.

`sources.clips_from` is what training calls; `layert2v-data check` is its front door for people.
"""
