"""Files in and out: pictures, avatars, motion, video."""
