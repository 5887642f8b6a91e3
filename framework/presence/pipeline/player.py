"""`AvatarPlayer`: draws an avatar with nothing but a body model and a renderer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from presence.errors import AssetError, ConfigError, InputError
from presence.interfaces import Body, GaussianRenderer
from presence.structures import Avatar, BodyParams, Camera, ProxyMesh, Rendering

if TYPE_CHECKING:
    from presence.realtime.animation import AnimationSession


class AvatarPlayer:
    """Poses and renders one avatar; the network that made it is not needed.

    Args:
        avatar: one person, on the device where everything should run.
        body: the body model that the avatar is bound to, on the same device.
        renderer: Gaussians to pixels.

    Raises:
        InputError: the avatar does not fit the body.
    """

    def __init__(
        self, avatar: Avatar, body: Body, renderer: GaussianRenderer | None = None
    ) -> None:
        check_fit(avatar, body)
        self._given_renderer = renderer is not None
        if renderer is None:
            from presence.rendering import build_renderer

            renderer = build_renderer("auto")
        self.avatar, self.body, self.renderer = avatar, body, renderer

    @torch.no_grad()
    def mesh(self, params: BodyParams) -> ProxyMesh:
        """Poses the body."""
        return self.body(params)

    @torch.no_grad()
    def draw(
        self, params: BodyParams, camera: Camera, background: Tensor | None = None
    ) -> Rendering:
        """Draws one frame.

        Args:
            params: pose and expression; the shape (betas, offsets) should be the avatar's.
            camera: the view.
            background: [3] colour, black if None.
        """
        gaussians = self.avatar.pose(self.body(params))
        return self.renderer(gaussians, camera, background)

    def frames(
        self, params: Iterable[BodyParams], cameras: Iterable[Camera], background: Tensor
    ) -> Iterator[Tensor]:
        """Yields pictures [3 H W], one for each pair of parameters and camera.

        On CUDA an `AnimationSession` draws them, with the avatar's shape.

        Args:
            params: pose and expression, a frame each.
            cameras: views, all of one size.
            background: [3] colour.
        """
        session = None
        for frame, camera in zip(params, cameras):
            if not self._fast:
                yield self.draw(frame, camera, background).rgb
                continue
            session = session or self._session(camera, background)
            yield session.draw(frame, camera, complete=True).rgb[0].clone()

    @property
    def _fast(self) -> bool:
        """Whether a session can draw the frames, and no other renderer was asked for."""
        from presence.bodies import Body as PlainBody
        from presence.rendering.gsplat_renderer import gsplat_problem

        possible = self.avatar.device.type == "cuda" and isinstance(self.body, PlainBody)
        return possible and not self._given_renderer and gsplat_problem() is None

    def _session(self, camera: Camera, background: Tensor) -> AnimationSession:
        from presence.bodies import Body as PlainBody
        from presence.realtime.animation import AnimationSession

        body = cast(PlainBody, self.body)
        return AnimationSession(self.avatar, body, camera, background=background)


def check_fit(avatar: Avatar, body: Body) -> None:
    """Raises InputError unless the avatar's binding and parameters belong to this body."""
    ids = avatar.binding.vertex_ids
    vertices = body.topology.num_vertices
    if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < vertices:
        raise InputError(
            f"the avatar is bound to vertices up to {int(ids.max())}, "
            f"but body {body.name} has {vertices}"
        )
    offsets = avatar.body.offsets
    if offsets is not None and offsets.shape[-2] != vertices:
        raise InputError(
            f"the avatar has offsets of {offsets.shape[-2]} vertices, "
            f"but body {body.name} has {vertices}"
        )
    for what, given, known in (
        ("shape", avatar.body.betas.shape[-1], body.num_betas),
        ("expression", avatar.body.expression.shape[-1], body.num_expression),
    ):
        if given > known:
            raise InputError(
                f"the avatar has {given} {what} coefficients, but body {body.name} has {known}"
            )


def load_body_for(name: str, path: str | None, device: torch.device) -> Body:
    """Loads the body that an avatar's header names.

    Args:
        name: from the header.
        path: the user's body file, for bodies that do not come with the project.
        device: where it goes.

    Raises:
        AssetError: the body is not embedded and no file was given.
        InputError: the given file holds another body.
    """
    from presence.bodies import load_body

    try:
        body = load_body(path or name)
    except AssetError as error:
        if path:
            raise
        raise AssetError(
            f"the avatar needs body `{name}`, which does not come with the project: "
            "give its file with --body"
        ) from error
    if body.name != name:
        raise InputError(f"the avatar was made with body `{name}`, not `{body.name}`")
    return cast(Body, body.to(device))


def resolve_device(name: str | torch.device) -> torch.device:
    """Returns the device of a `--device` option.

    Raises:
        ConfigError: no such device, or no CUDA here.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"unknown device `{name}`, expected cpu or cuda") from error
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise ConfigError(f"device {device} is not available here: {count} CUDA devices found")
    elif device.type != "cpu":
        raise ConfigError(f"unknown device `{name}`, expected cpu or cuda")
    return device
