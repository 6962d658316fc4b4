"""How good layered video is: metrics, baselines, report and page (`docs/evaluation.md`)."""
