"""A picture of a body: matte renders, poses and expressions, and its atlas beside them."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from presence.bodies.body import Body
from presence.geometry import vertex_normals
from presence.structures import BodyParams

_TURNS = {"front": 0.0, "three-quarter": 35.0, "side": 90.0, "back": 180.0}


def picture(body: Body, size: int = 640) -> Image.Image:
    """Draws one sheet: front, side, back and a pose, then head, expression, hand and atlas.

    Args:
        body: what to draw.
        size: height of each of the two rows, pixels.
    """
    rest = body.default_params()
    talking = rest.expression.clone()
    for name in ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "browInnerUp", "eyeBlinkRight"):
        if name in body.expression_names:
            talking[body.expression_names.index(name)] = 0.8
    head = body(rest).joints[body.joint_names.index("head")] + torch.tensor([0.0, 0.05, 0.05])
    hand = body(rest).joints[body.joint_names.index("left_middle1")]
    whole = torch.tensor([0.0, -0.15, 0.05])
    panels = [
        matte(body, rest, "front", whole, 1.0, size),
        matte(body, rest, "side", whole, 1.0, size),
        matte(body, rest, "back", whole, 1.0, size),
        matte(body, _posed(rest), "three-quarter", whole, 1.0, size),
        matte(body, rest, "front", head, 0.17, size),
        matte(body, rest.replace(expression=talking), "three-quarter", head, 0.17, size),
        matte(body, rest, "top", hand, 0.14, size),
        atlas_panel(body, size),
    ]
    rows = [np.concatenate(panels[:4], 1), np.concatenate(panels[4:], 1)]
    return Image.fromarray(np.concatenate(rows, 0))


def matte(
    body: Body, params: BodyParams, view: str, centre: Tensor, half_height: float, size: int
) -> np.ndarray:
    """Renders the mesh orthographically in grey: [size size 3] uint8.

    Args:
        body: the body model.
        params: unbatched parameters.
        view: "front", "three-quarter", "side", "back" or "top".
        centre: [3] what the picture is centred on, metres.
        half_height: half of what the picture shows, metres.
        size: pixels a side.
    """
    from presence.rasterize import CPURasterizer, interpolate

    vertices = body(params).vertices
    turn = _view_from_world(view)
    placed = (vertices - centre) @ turn.T
    scale = size / (2 * half_height)
    screen = torch.stack(
        [size / 2 + placed[:, 0] * scale, size / 2 - placed[:, 1] * scale, 10 - placed[:, 2]], -1
    )
    faces = body.topology.faces
    fragments = CPURasterizer()(screen[None], faces, size, size, orthographic=True)
    normals = vertex_normals(vertices, faces) @ turn.T
    seen = interpolate(fragments, faces, normals[None])[0]  # [size, size, 3]
    light = torch.nn.functional.normalize(torch.tensor([0.35, 0.5, 0.8]), dim=0)
    shade = 0.25 + 0.75 * (seen @ light).clamp(0, 1)
    inside = fragments.face_ids[0] >= 0
    grey = torch.where(inside, shade, torch.ones(())).mul(255).byte().numpy()
    return np.repeat(grey[..., None], 3, -1)


def _view_from_world(view: str) -> Tensor:
    if view == "top":
        return torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    angle = np.radians(_TURNS[view])
    c, s = float(np.cos(angle)), float(np.sin(angle))
    return torch.tensor([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])


def atlas_panel(body: Body, size: int) -> np.ndarray:
    """Draws the atlas: a colour a chart, faces shaded by their normal: [size size 3] uint8."""
    from presence.rasterize import rasterize_uv

    topology = body.topology
    found = rasterize_uv(topology, size).face_ids
    corners = body.v_template[topology.faces]
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal = torch.nn.functional.normalize(normal, dim=-1)
    rng = np.random.default_rng(3)
    palette = torch.tensor(rng.uniform(0.45, 1.0, (64, 3)), dtype=torch.float32)
    chart = torch.zeros(len(corners), dtype=torch.long)
    if body.face_charts is not None:
        chart = body.face_charts
    shade = 0.65 + 0.35 * normal.abs() @ torch.tensor([0.5, 0.3, 0.2])
    colour = palette[chart % 64] * shade[:, None]
    picture = torch.ones(size, size, 3)
    picture[found >= 0] = colour[found[found >= 0]]
    return picture.mul(255).byte().numpy()


def _posed(rest: BodyParams) -> BodyParams:
    from presence.bodies.joints import JOINT_NAMES

    pose = rest.pose.clone()
    for name, turn in {
        "left_shoulder": (0.0, 0.0, -1.0),
        "right_shoulder": (0.0, 0.2, 0.5),
        "right_elbow": (0.0, 1.4, 0.0),
        "left_elbow": (0.0, -0.7, 0.0),
        "left_hip": (-0.9, 0.0, 0.1),
        "left_knee": (1.1, 0.0, 0.0),
        "neck": (0.0, 0.3, 0.0),
        "spine2": (0.0, 0.2, 0.0),
    }.items():
        pose[JOINT_NAMES.index(name)] = torch.tensor(turn)
    for finger in ("index", "middle", "ring", "pinky"):
        for link in (1, 2, 3):
            pose[JOINT_NAMES.index(f"left_{finger}{link}")] = torch.tensor([0.0, 0.0, -0.5])
    return rest.replace(pose=pose)
