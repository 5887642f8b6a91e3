"""One picture to an avatar file, with the pictures and figures that show how good it is."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from presence.errors import InputError
from presence.io.atomic import atomic_folder, write_text
from presence.io.avatar import save_avatar
from presence.io.images import load_portrait, save_png
from presence.io.video import write_video
from presence.pipeline import report as reports
from presence.pipeline.framing import Window, frame_portrait
from presence.pipeline.player import AvatarPlayer
from presence.pipeline.timing import StageClock
from presence.pipeline.views import plan_cameras
from presence.structures import Portrait, Rendering, Tracking, stack
from presence.tracking.cut_out import track_cut_out

_log = logging.getLogger(__name__)
STAGES = {
    "encoder": "encode",
    "projector": "project",
    "decoder": "decode",
    "feedback": "feedback",
}
TO_AVATAR = ("load", "track", "frame", *STAGES.values(), "body", "write_avatar")
"""The stages from pixels to `avatar.safetensors`."""
FILES = (
    "avatar.safetensors",
    "portrait.png",
    "mask.png",
    "overlay.png",
    "reconstruction.png",
    "turntable.mp4",
    "report.json",
)
"""What a reconstruction's folder holds. The PNG files show one and the same window."""


@dataclasses.dataclass(frozen=True)
class _Look:
    """One picture of the person, tracked and framed, on the model's device."""

    framed: Portrait
    tracking: Tracking
    facts: dict[str, Any]


class Reconstructor:
    """A loaded model and tracker, ready for any number of pictures.

    Args:
        model: an `AvatarModel` in eval mode, on `device`.
        tracker: finds body, camera and mask; see `presence.interfaces.Tracker`.
        device: where the model is.
        size: side of the window that the model sees, px.
        turntable: frames of `turntable.mp4`; 16 are shown a second.
        used: what else the report should name (config, weights).
        progress: show progress bars.
    """

    def __init__(
        self,
        model: Any,
        tracker: Any,
        *,
        device: torch.device | str = "cpu",
        size: int = 512,
        turntable: int = 48,
        used: dict[str, str] | None = None,
        progress: bool = True,
    ) -> None:
        self.model, self.tracker, self.device = model, tracker, torch.device(device)
        self.size, self.turntable, self.progress = size, turntable, progress
        self.used = dict(used or {})

    @torch.no_grad()
    def __call__(self, image: str | Path, out: str | Path) -> dict[str, Any]:
        """Reconstructs one picture into the folder `out` and returns the report.

        Either all of `FILES` appear in `out` or none.

        Raises:
            InputError: the picture cannot be used.
        """
        clock = StageClock(self.device)
        return self._reconstruct([self._look(image, clock)], out, clock)

    @torch.no_grad()
    def blend(
        self,
        images: Sequence[str | Path],
        out: str | Path,
        weights: Sequence[float] | None = None,
    ) -> dict[str, Any]:
        """Reconstructs one avatar from several pictures of one person, blended in UV.

        Files and report are those of one picture, the first; what the report says of the others
        is under `blended`.

        Args:
            images: pictures of one person; the first gives shape, pose and camera.
            out: folder.
            weights: trust in each picture; equal if None.

        Raises:
            InputError: a picture cannot be used; the message names it.
            ConfigError: the decoder does not work in UV, or the weights do not fit.
        """
        clock = StageClock(self.device)
        looks = []
        for image in images:
            try:
                looks.append(self._look(image, clock))
            except InputError as error:
                named = str(image) in str(error)
                raise error if named else InputError(f"{image}: {error}") from error
        return self._reconstruct(looks, out, clock, weights)

    def _look(self, image: str | Path, clock: StageClock) -> _Look:
        with clock("load"):
            portrait = load_portrait(image)
        with clock("track"):
            portrait, tracking = self.track(portrait)
        with clock("frame"):
            framed, camera, window = frame_portrait(portrait, tracking.camera, self.size)
            framed, camera = framed.to(self.device), camera.to(self.device)
        tracking = tracking.replace(body=tracking.body.to(self.device), camera=camera)
        facts = _picture(Path(image), portrait, window, self.size)
        return _Look(framed, tracking, facts)

    def _reconstruct(
        self,
        looks: Sequence[_Look],
        out: str | Path,
        clock: StageClock,
        weights: Sequence[float] | None = None,
    ) -> dict[str, Any]:
        framed, tracking = looks[0].framed, looks[0].tracking
        with clock.parts(self.model, STAGES, rest="body"):
            if len(looks) == 1:
                avatar = self.model.reconstruct(framed, tracking.body, tracking.camera)
            else:
                avatar = self.model.reconstruct_many(
                    stack([look.framed for look in looks]),
                    stack([look.tracking.body for look in looks]),
                    stack([look.tracking.camera for look in looks]),
                    weights,
                )
        player = AvatarPlayer(avatar, self.model.body)
        with atomic_folder(out) as folder:
            with clock("write_avatar"):
                save_avatar(avatar, folder / "avatar.safetensors", self._header(tracking))
            with clock("pictures"):
                rendering = self._write_pictures(folder, framed, tracking, player)
            with clock("metrics"):
                metrics = reports.picture_metrics(rendering, framed)
                others = [self._compare(look, player) for look in looks[1:]]
            with clock("turntable"):
                self._write_turntable(folder / "turntable.mp4", player)
            result = {
                "image": looks[0].facts,
                "metrics": metrics,
                **({"blended": others} if others else {}),
                **self._facts(tracking, player, clock),
            }
            write_text(folder / "report.json", reports.to_json(result))
        return result

    def _compare(self, look: _Look, player: AvatarPlayer) -> dict[str, Any]:
        """Draws the avatar as another of the blended pictures shows it, and measures."""
        body = look.tracking.body.shaped_as(player.avatar.body)
        rendering = player.draw(body, look.tracking.camera)
        return {**look.facts, "metrics": reports.picture_metrics(rendering, look.framed)}

    def track(self, portrait: Portrait) -> tuple[Portrait, Tracking]:
        """Returns the portrait with the person's mask, and the tracking.

        A mask that came with the picture (transparency) is kept. A tracker that only implements
        `Tracker` gives no mask, so then the picture has to bring one.
        """
        tracked, tracking = track_cut_out(self.tracker, portrait)
        for note in tracking.notes:
            _log.info("tracker: %s", note)
        return tracked, tracking

    def _write_pictures(
        self, folder: Path, framed: Portrait, tracking: Tracking, player: AvatarPlayer
    ) -> Rendering:
        from presence.rasterize import build_rasterizer
        from presence.tracking.overlay import draw_overlay

        body, camera = self.model.body, tracking.camera
        mesh = player.mesh(tracking.body)
        overlay = draw_overlay(framed, mesh, camera, body.topology, build_rasterizer("auto"))
        rendering = player.draw(tracking.body, camera)
        save_png(folder / "portrait.png", framed.rgb)
        save_png(folder / "mask.png", framed.alpha)
        save_png(folder / "overlay.png", overlay)
        save_png(folder / "reconstruction.png", rendering.rgb + 1 - rendering.alpha)
        return rendering

    def _write_turntable(self, path: Path, player: AvatarPlayer) -> None:
        avatar, count = player.avatar, self.turntable
        vertices = {i: player.mesh(avatar.body).vertices for i in range(0, count, 6)}
        parts = self.model.body.vertex_parts
        cameras = plan_cameras("turntable", avatar.camera, vertices, parts, count, self.size)
        white: Tensor = torch.ones(3, device=self.device)
        frames = player.frames([avatar.body] * count, cameras, white)
        label = "turntable" if self.progress else ""
        write_video(path, frames, fps=16, count=count, label=label)

    def _header(self, tracking: Tracking) -> dict[str, Any]:
        return {
            "body": self.model.body.name,
            "visibility": dict(tracking.visibility),
            "made_by": {**reports.components(self.model, self.tracker, None), **self.used},
            "licence": (
                "Shape and colours come from a picture: its rights and the person's consent are "
                "the user's. The body model's and the weights' licences are in docs/licences.md."
            ),
        }

    def _facts(self, tracking: Tracking, player: AvatarPlayer, clock: StageClock) -> dict[str, Any]:
        seconds = dict(clock.seconds)
        return {
            "seconds_to_avatar": sum(seconds.get(stage, 0.0) for stage in TO_AVATAR),
            "seconds": seconds,
            "gaussians": int(player.avatar.canonical.means.shape[0]),
            "used": {**reports.components(self.model, self.tracker, player.renderer), **self.used},
            "tracker": {
                "visibility": tracking.visibility,
                "parts": {name: dataclasses.asdict(part) for name, part in tracking.parts.items()},
                "notes": list(tracking.notes),
            },
            "environment": reports.environment(self.device),
            "files": list(FILES),
        }


def _picture(image: Path, portrait: Portrait, window: Window, size: int) -> dict[str, Any]:
    height, width = portrait.size
    return {
        "name": image.name,
        "width": width,
        "height": height,
        "window": {**dataclasses.asdict(window), "size": size},
    }
