"""Fitting body parameters and a camera to what detectors see."""
