"""The avatar model and the layers that plugins share."""

from presence.models.avatar_model import AvatarModel

__all__ = ["AvatarModel"]
