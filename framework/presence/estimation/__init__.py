"""What adapters of released estimators share: crops, cameras, rotations, loading, head networks."""
