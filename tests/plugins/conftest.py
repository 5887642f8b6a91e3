"""Its presence makes `official_weights`, beside it, importable from every folder below."""
