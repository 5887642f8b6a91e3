"""Released estimator networks, rebuilt for inference only and filled from their own files."""
