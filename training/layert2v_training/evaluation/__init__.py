"""Evaluation of layered video: metrics, baselines, report and page (`docs/evaluation.md`)."""
