"""Training: the mmengine Runner and what it needs."""
