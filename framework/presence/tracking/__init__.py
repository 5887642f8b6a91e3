"""Fitting body parameters and a camera to what detectors see.

The modules here fit one picture to landmarks and mask. `fusing` chooses and joins estimators,
`refinement` has the paper's three stages, `video` tracks clips, `measuring` compares with people
whose bodies are known.
"""
