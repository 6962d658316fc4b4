"""The limit of foregrounds: no clip of the user's has more than the model takes."""

import logging

from layert2v_training.data.problems import BadClip, BadClips
from layert2v_training.data.sources import FileClips

log = logging.getLogger(__name__)


def limit_foregrounds(source: FileClips, most: int) -> None:
    """Leave clips with over `most` foregrounds out of `source`, in place, if it skips bad ones.

    Raises:
        BadClips: There are such clips and bad ones are not skipped, or no other clip is left.
    """
    crowded = [clip for clip in source.clips if len(clip.layers) > most]
    bad = [
        BadClip(
            clip.path,
            f"has {len(clip.layers)} foregrounds, the model takes {most} "
            f"(transformer.max_foregrounds): remove some",
        )
        for clip in crowded
    ]
    if bad and (not source.skip_bad or len(bad) == len(source.clips)):
        raise BadClips(bad)
    for problem in bad:
        log.warning("skipping %s", problem)
    source.clips = tuple(clip for clip in source.clips if len(clip.layers) <= most)
