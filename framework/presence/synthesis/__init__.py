"""Procedural people: geometry, materials, light and cameras drawn from seeds."""
