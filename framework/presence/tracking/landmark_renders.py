"""Renders random people on which a detector can be run, with what each pixel shows."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from presence.bodies import Body
from presence.rasterize import MeshRasterizer, interpolate
from presence.structures import BodyParams, Camera, ProxyMesh
from presence.tracking.relaxed import JOINT, relaxed_pose
from presence.tracking.shading import ShadedView, paint_eyes, shade

Framing = Literal["head", "body", "left_hand", "right_hand"]
_SIDE = 512  # px
_SKINS = ((0.9, 0.72, 0.62), (0.8, 0.58, 0.46), (0.62, 0.42, 0.3), (0.42, 0.28, 0.2))
_CLOTHES = ((0.2, 0.3, 0.6), (0.7, 0.2, 0.2), (0.85, 0.85, 0.8), (0.2, 0.45, 0.25), (0.15,) * 3)


@dataclasses.dataclass(frozen=True)
class RenderedPerson:
    """A render, and everything needed to cast its pixels back onto the body.

    Attributes:
        image: [H W 3] uint8.
        params: unbatched.
        mesh: unbatched.
        camera: unbatched.
        view: fragments and normals.
    """

    image: np.ndarray
    params: BodyParams
    mesh: ProxyMesh
    camera: Camera
    view: ShadedView


class PersonRenderer:
    """Makes the same random people for the same seed.

    Args:
        body: model whose people are rendered.
        rasterizer: any backend.
        seed: of everything random.
        makeup: vertices to darken or redden: "lips" and "brows" to [n] vertex indices.
    """

    def __init__(
        self,
        body: Body,
        rasterizer: MeshRasterizer,
        *,
        seed: int = 0,
        makeup: dict[str, Tensor] | None = None,
    ) -> None:
        self.body, self.rasterizer = body, rasterizer
        self.makeup = makeup or {}
        self._random = np.random.default_rng(seed)

    def render(self, framing: Framing) -> RenderedPerson:
        """Renders one random person, with the head, the whole body or one hand in the picture."""
        params = self._params(framing)
        mesh = self.body(params)
        camera = self._camera(mesh, framing)
        skin = torch.tensor(_SKINS[self._random.integers(len(_SKINS))])
        colors = self._colors(skin, clothed=framing == "body")
        behind = torch.from_numpy(self._random.uniform(0.2, 0.9, 3)).float()
        x, y, z = self._random.uniform((-0.6, 0.2, 0.7), (0.6, 0.8, 1.0))
        topology = self.body.topology
        screen = camera.screen(mesh.vertices)[None]
        fragments = self.rasterizer(screen, topology.faces, camera.height, camera.width)[0]
        pixels = interpolate(fragments, topology.faces, colors)
        pixels = paint_eyes(self.body, mesh, fragments, pixels)
        view = shade(
            mesh, camera, topology, self.rasterizer, pixels, background=behind, light=(x, y, z)
        )
        image = (view.rgb.permute(1, 2, 0) * 255).round().byte().numpy()
        return RenderedPerson(image, params, mesh, camera, view)

    def _normal(self, *sigmas: float) -> Tensor:
        return torch.from_numpy(self._random.normal(0, sigmas)).float()

    def _params(self, framing: str) -> BodyParams:
        params = self.body.default_params()
        betas = 0.7 * torch.from_numpy(self._random.normal(size=self.body.num_betas)).float()
        betas[0] *= 0.5  # children's proportions are rarer among those who use this
        active = self._random.random(self.body.num_expression) < 0.06
        strength = self._random.random(self.body.num_expression) * active
        pose = relaxed_pose()
        pose[JOINT["jaw"], 0] = self._random.uniform(0, 0.3) * (self._random.random() < 0.6)
        gaze = self._normal(0.12, 0.2, 0)
        pose[JOINT["left_eye"]] = pose[JOINT["right_eye"]] = gaze
        pose[JOINT["neck"]] += self._normal(0.1, 0.15, 0.08)
        if framing == "body":
            self._pose_limbs(pose)
        if framing.endswith("hand"):
            self._pose_fingers(pose, framing)
        return params.replace(betas=betas, expression=torch.from_numpy(strength).float(), pose=pose)

    def _pose_limbs(self, pose: Tensor) -> None:
        for side, sign in (("left", 1.0), ("right", -1.0)):
            lift = self._random.uniform(0.0, 1.3)
            pose[JOINT[f"{side}_shoulder"]] += self._normal(0.1, 0.25, 0.1)
            pose[JOINT[f"{side}_shoulder"], 2] += sign * lift
            pose[JOINT[f"{side}_elbow"], 1] -= sign * self._random.uniform(0.0, 1.2)
            pose[JOINT[f"{side}_hip"]] += self._normal(0.2, 0.1, 0.02)
            pose[JOINT[f"{side}_hip"], 2] += sign * self._random.uniform(0.0, 0.25)
            pose[JOINT[f"{side}_knee"], 0] += self._random.uniform(0.0, 0.5)

    def _pose_fingers(self, pose: Tensor, framing: str) -> None:
        side = framing.removesuffix("_hand")
        sign = 1.0 if side == "left" else -1.0
        for finger in ("index", "middle", "ring", "pinky"):
            curl = self._random.uniform(0.0, 0.6)
            for link in (1, 2, 3):
                pose[JOINT[f"{side}_{finger}{link}"], 2] = -sign * curl
            pose[JOINT[f"{side}_{finger}1"], 1] += self._random.normal(0, 0.08)
        pose[JOINT[f"{side}_thumb1"]] += self._normal(0.1, 0.15, 0.1)

    def _camera(self, mesh: ProxyMesh, framing: str) -> Camera:
        azimuth = self._random.uniform(-0.6, 0.6)
        elevation = self._random.uniform(-0.25, 0.25)
        if framing == "head":
            target = mesh.joints[JOINT["head"]] + torch.tensor([0.0, 0.05, 0.03])
            distance = self._random.uniform(0.9, 1.5)
        elif framing == "body":
            target = (mesh.vertices.amin(0) + mesh.vertices.amax(0)) / 2
            height = float(mesh.vertices[:, 1].max() - mesh.vertices[:, 1].min())
            distance = height * self._random.uniform(3.0, 4.0)
            azimuth *= 2.0
        else:
            target = mesh.joints[JOINT[framing.replace("_hand", "_middle1")]]
            distance = self._random.uniform(0.8, 1.2)
            azimuth, elevation = azimuth * 3.0, elevation * 2.0
        level = math.cos(elevation) * distance
        offset = [math.sin(azimuth) * level, math.sin(elevation) * distance]
        eye = target + torch.tensor([*offset, math.cos(azimuth) * level])
        return Camera.look_at(eye, target, math.radians(20), _SIDE, _SIDE)

    def _colors(self, skin: Tensor, *, clothed: bool) -> Tensor:
        colors = skin.expand(self.body.num_vertices, 3).clone()
        parts = self.body.vertex_parts
        if clothed:
            shirt, trousers = (
                torch.tensor(_CLOTHES[self._random.integers(len(_CLOTHES))]) for _ in range(2)
            )
            colors[parts["torso"]] = shirt
            for side in ("left", "right"):
                colors[parts[f"{side}_leg"]] = trousers
                colors[parts[f"{side}_foot"]] = 0.1
        hair = torch.tensor([0.12, 0.08, 0.06])
        colors[_scalp(self.body)] = hair
        if "lips" in self.makeup:
            colors[self.makeup["lips"]] = skin * torch.tensor([0.85, 0.5, 0.5])
        if "brows" in self.makeup:
            colors[self.makeup["brows"]] = 0.6 * hair + 0.2 * skin
        return colors


def _scalp(body: Body) -> Tensor:
    """Head vertices above and behind a slanted plane through the hairline."""
    head = body.vertex_parts["head"]
    points = body.v_template[head]
    top, eyes = points[:, 1].max(), float(body.v_template[body.vertex_parts["left_eye"], 1].mean())
    front = points[:, 2].max()
    height = (points[:, 1] - eyes) / (top - eyes)  # 0 at the eyes, 1 at the crown
    depth = (front - points[:, 2]) / (front - points[:, 2].min())  # 0 at the nose, 1 at the back
    return head[(height + 1.0 * depth > 1.0) & (height > -0.6)]
