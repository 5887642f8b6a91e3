"""Helpers for tests of the framework and of plugins: contract checks and small bodies."""
