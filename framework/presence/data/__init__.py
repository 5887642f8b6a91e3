"""Files that ship with the package: the open body model and what is derived from it."""
