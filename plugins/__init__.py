"""The bundled plugins, imported as `presence_plugins` (mapped in setup.cfg)."""

if __name__ == "plugins":
    raise ImportError(
        "import this package as `presence_plugins`: the bare name `plugins` is left to your own "
        "folder (install the project with `pip install -e .`)"
    )
