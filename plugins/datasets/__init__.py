"""Bundled dataset plugins: every module here registers its classes when imported."""
