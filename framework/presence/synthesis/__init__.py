"""Procedural people: geometry, materials, light and cameras drawn from seeds."""

from presence.synthesis.people import FIRST_SEED, ProceduralPeople, Recipe

__all__ = ["FIRST_SEED", "ProceduralPeople", "Recipe"]
