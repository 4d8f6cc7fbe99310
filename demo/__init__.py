"""Real trainings that LossLens is shown on and judged by."""
