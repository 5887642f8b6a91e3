"""People whose bodies are known, and how far a tracker or an estimator is from them."""
