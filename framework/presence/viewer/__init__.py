"""An avatar as one web page that needs nothing beside it, and a small server for it."""

from presence.viewer.moving import MovingGaussians
from presence.viewer.page import Shot, build_page, front_shot, portrait_shot
from presence.viewer.server import serve_page

__all__ = ["MovingGaussians", "Shot", "build_page", "front_shot", "portrait_shot", "serve_page"]
