"""Checks the layers that a shot keeps against their sources, and copies their prompts."""

from collections.abc import Mapping

from layert2v_backend.checks.findings import Findings
from layert2v_backend.errors import KeptJobNotSucceeded, UnknownJob, shown
from layert2v_backend.jobs import JOB_NAME, Job
from layert2v_domain.job import JobState
from layert2v_domain.shot import KeptLayer, LayerRole, LayerSpec, Shot

Size = tuple[int, int, int]
"""Width, height and frames."""


def kept_job_ids(shot: Shot) -> set[str]:
    """List the jobs whose layers a shot keeps. Malformed names are left to `fill_kept_layer`."""
    names = (layer.kept.job for layer in shot.layers if layer.kept)
    return {match[1] for name in names if (match := JOB_NAME.fullmatch(name))}


def fill_kept_layer(
    kept: KeptLayer,
    role: LayerRole,
    size: Size,
    sources: Mapping[str, Job],
    field: str,
    found: Findings,
) -> LayerSpec | None:
    """Give a kept layer with its source's prompt and seed.

    Args:
        kept: The job and layer that it comes from.
        role: The layer's role in this shot. The check of all roles refuses an unknown one.
        size: Width, height and frames of this shot.
        sources: The jobs of `kept_job_ids` that exist, by id.
        field: The layer's path from the request.
        found: Collects the faults.

    Returns:
        The layer, or None with one finding if it cannot be kept.
    """
    name, layer_index = kept.job, kept.layer_index
    if not JOB_NAME.fullmatch(name):
        found.add(f"{field}.kept.job", f"{shown(name)} is not of the form jobs/{{job}}")
        return None
    job = sources.get(kept.job_id)
    if job is None:
        found.add(f"{field}.kept.job", f"there is no job {name}: list the jobs", UnknownJob)
        return None
    if job.state is not JobState.SUCCEEDED:
        description = f"{name} is {job.state}: a layer can be kept from a job that succeeded"
        found.add(f"{field}.kept.job", description, KeptJobNotSucceeded)
        return None
    source = job.shot
    if not 0 <= layer_index < len(source.layers):
        limit = f"{name} has layers 0 to {len(source.layers) - 1}"
        found.add(f"{field}.kept.layer_index", f"{layer_index} is not a layer: {limit}")
        return None
    layer = source.layers[layer_index]
    if role is not LayerRole.UNKNOWN and layer.role is not role:
        description = (
            f"layer {layer_index} of {name} is a {layer.role}, this layer is a {role}: "
            f"choose another"
        )
        found.add(f"{field}.kept.layer_index", description)
        return None
    if (source.width, source.height, source.num_frames) != size:
        description = (
            f"{name} has {source.width} x {source.height} pixels and {source.num_frames} frames, "
            f"this shot {size[0]} x {size[1]} and {size[2]}: make them equal"
        )
        found.add(f"{field}.kept.job", description)
        return None
    return LayerSpec(role, layer.prompt, source.seed_of(layer_index), kept)
