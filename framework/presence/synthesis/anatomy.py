"""Where things are on a body: coordinates, anchors and fixed per-vertex fields of its template.

Cuts, colours and displacements are functions of template positions, so one recipe fits every
shape and pose. Anchors come from joints, named parts and facial actions, never from vertex
numbers, so the recipe also fits other body files.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from presence.geometry import vertex_normals
from presence.interfaces import Body, MeshRasterizer

STATIC = ("x", "y", "z", "occlusion", "eye", "inside", "palm", "drape")
SMOOTHING_STEPS = (0, 12, 26)


class Anatomy(nn.Module):
    """Template measurements of a body model.

    All lengths are metres on the template (average shape, T-pose).

    Args:
        body: the body model.
        rasterizer: used once, to find how open to the sky each vertex is.

    Attributes:
        anchors: name to a number: heights and positions of landmarks.
        static: [V 8] the per-vertex fields named by `STATIC`.
        joints: [55 3] template joints.
        brow: the vertex between the brows.
        scalp: [n] vertices of the upper head.
        height_direction: [S] metres of stature for each unit of a shape coefficient.
        figure_direction: [S] how much more feminine a figure each unit of a coefficient makes.
        height: stature of the template.
    """

    static: Tensor
    joints: Tensor
    smooth_template: Tensor
    smooth_shapes: Tensor
    height_direction: Tensor
    figure_direction: Tensor
    scalp: Tensor
    cloth_faces: Tensor
    jacket_faces: Tensor
    hair_faces: Tensor

    def __init__(self, body: Body, rasterizer: MeshRasterizer) -> None:
        super().__init__()
        params = body.default_params()
        rest = body(params)
        vertices, faces = rest.vertices, body.topology.faces
        parts = body.vertex_parts
        self.anchors = _anchors(vertices, rest.joints, parts, _actions(body))
        self._keep("joints", rest.joints)
        self._keep("static", _static(body, vertices, self.anchors, rasterizer))
        template, shapes = _smooth_shapes(body)
        self._keep("smooth_template", template)
        self._keep("smooth_shapes", shapes)
        top, bottom = int(vertices[:, 1].argmax()), int(vertices[:, 1].argmin())
        self.height = float(vertices[top, 1] - vertices[bottom, 1])
        self._keep("height_direction", _stature_gradient(body, top, bottom))
        self._keep("figure_direction", _figure_gradient(body, vertices, self.anchors))
        for name, mask in _face_sets(faces, vertices, parts, self.anchors).items():
            self._keep(f"{name}_faces", faces[mask])
        self.brow = int(_brow_vertex(vertices, parts, self.anchors))
        scalp = vertices[:, 1] > self.anchors["eye_y"] + 0.2 * self.anchors["ipd"]
        self._keep("scalp", torch.nonzero(scalp)[:, 0])

    def _keep(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value.detach().clone(), persistent=False)

    @property
    def template(self) -> tuple[Tensor, Tensor, Tensor]:
        """Template x, y and z, [1 V] each."""
        return tuple(self.static[None, :, k] for k in range(3))  # type: ignore[return-value]

    def smooth_rest(self, betas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the rest mesh [B V 3] of shapes [B S] as it is, and smoothed less and more."""
        flat = torch.addmm(self.smooth_template.flatten(), betas, self.smooth_shapes)
        plain, less, more = flat.unflatten(1, (3, -1, 3)).unbind(1)
        return plain, less, more


def _smooth_shapes(body: Body) -> tuple[Tensor, Tensor]:
    """Returns the smoothed templates [3 V 3] and shape directions [S 3V3].

    Smoothing is linear in the vertices, and the rest mesh in its shape coefficients, so
    smoothing the directions once replaces smoothing every person.
    """
    count = body.num_betas
    params = body.default_params((count + 1,))
    betas = torch.zeros_like(params.betas)
    betas[1:] = torch.eye(count, device=betas.device)
    rest = body(params.replace(betas=betas)).rest_vertices  # [S+1 V 3]
    columns = rest.movedim(0, 1).flatten(1).double().cpu().numpy()  # [V (S+1)3]
    levels, matrix, done = [], _averaging(body.topology.faces.cpu().numpy()), 0
    for steps in SMOOTHING_STEPS:
        for _ in range(steps - done):
            columns = matrix @ columns
        done = steps
        levels.append(torch.from_numpy(columns).float().unflatten(1, (count + 1, 3)))
    stacked = torch.stack(levels, 1).movedim(2, 0).movedim(2, 1).to(rest)  # [S+1 3 V 3]
    return stacked[0], (stacked[1:] - stacked[:1]).flatten(1)


def _averaging(faces: np.ndarray) -> sparse.csr_matrix:
    """Returns the matrix [V V] of one smoothing step: mostly the mean of the neighbours."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.unique(np.concatenate([edges, edges[:, ::-1]]), axis=0)
    count = int(faces.max()) + 1
    degree = np.bincount(edges[:, 0], minlength=count)
    share = 0.7 / degree[edges[:, 0]]
    neighbours = sparse.csr_matrix((share, (edges[:, 0], edges[:, 1])), shape=(count, count))
    own = np.where(degree > 0, 0.3, 1.0)
    return neighbours + sparse.diags(own, format="csr")


def _actions(body: Body) -> dict[str, Tensor]:
    """Returns how far [V] each named facial action moves each vertex."""
    params, found = body.default_params(), {}
    neutral = body(params).rest_vertices
    for index, name in enumerate(getattr(body, "expression_names", ())):
        if name in ("mouthPucker", "mouthSmileLeft"):
            expression = torch.zeros_like(params.expression)
            expression[index] = 1.0
            moved = body(params.replace(expression=expression)).rest_vertices
            found[name] = (moved - neutral).norm(dim=-1)
    return found


def _anchors(
    vertices: Tensor, joints: Tensor, parts: dict[str, Tensor], actions: dict[str, Tensor]
) -> dict[str, float]:
    eyes = joints[23:25]
    ipd = float((eyes[0] - eyes[1]).norm())
    eye_y = float(eyes[:, 1].mean())
    head = vertices[parts["head"]]
    ears = head[head[:, 0].abs() > 0.93 * head[:, 0].abs().max()]
    mouth_y, corner = eye_y - 1.19 * ipd, 0.43 * ipd  # average proportions, if nothing better
    if "mouthPucker" in actions:
        mouth_y = float(vertices[actions["mouthPucker"].argmax(), 1]) - 0.0015
    if "mouthSmileLeft" in actions:
        corner = float(vertices[actions["mouthSmileLeft"].argmax(), 0].abs()) * 0.97
    midline = head[(head[:, 0].abs() < 0.15 * ipd) & (head[:, 2] > float(eyes[:, 2].mean()))]
    named = {
        "pelvis": 0, "hip": 1, "spine1": 3, "knee": 4, "ankle": 7, "spine3": 9, "neck": 12,
        "head": 15, "shoulder": 16, "elbow": 18, "wrist": 20,
    }  # fmt: skip
    anchors = {
        f"{name}_{axis}": float(joints[index, k])
        for name, index in named.items()
        for k, axis in enumerate("xyz")
    }
    return anchors | {
        "ipd": ipd,
        "eye_y": eye_y,
        "eye_x": float(eyes[:, 0].abs().mean()),
        "eye_z": float(eyes[:, 2].mean()),
        "mouth_y": mouth_y,
        "corner": corner,
        "mouth_z": float(midline[(midline[:, 1] - mouth_y).abs() < 0.2 * ipd, 2].max()),
        "ear_x": float(ears[:, 0].abs().mean()),
        "ear_y": float(ears[:, 1].mean()),
        "ear_z": float(ears[:, 2].mean()),
        "crown_y": float(head[:, 1].max()),
        "brow_z": float(midline[(midline[:, 1] - eye_y - 0.3 * ipd).abs() < 0.2 * ipd, 2].max()),
        "back_z": float(head[:, 2].min()),
        "sole_y": float(vertices[:, 1].min()),
        "chin_y": float(midline[:, 1].min()),
    }


def _brow_vertex(vertices: Tensor, parts: dict[str, Tensor], anchors: dict[str, float]) -> Tensor:
    """Returns the vertex between the brows."""
    head = parts["head"]
    wanted = [0.0, anchors["eye_y"] + 0.25 * anchors["ipd"], anchors["brow_z"]]
    distance = (vertices[head] - torch.tensor(wanted).to(vertices)).norm(dim=-1)
    return head[distance.argmin()]


def _static(
    body: Body, vertices: Tensor, anchors: dict[str, float], rasterizer: MeshRasterizer
) -> Tensor:
    parts = body.vertex_parts
    flags = {name: torch.zeros(len(vertices), device=vertices.device) for name in STATIC}
    for k, axis in enumerate("xyz"):
        flags[axis] = vertices[:, k]
    for name in ("left_eye", "right_eye"):
        flags["eye"][parts[name]] = 1.0
    flags["inside"][parts["mouth_interior"]] = 1.0
    normals = vertex_normals(vertices, body.topology.faces)
    gap = _drape(vertices, anchors).double().cpu().numpy()
    matrix = _averaging(body.topology.faces.cpu().numpy())
    for _ in range(4):
        gap = matrix @ gap
    flags["drape"] = torch.from_numpy(gap).to(vertices)
    hands = torch.cat([parts["left_hand"], parts["right_hand"]])
    flags["palm"][hands] = (-normals[hands, 1]).clamp(0, 1)  # T-pose palms face down
    flags["occlusion"] = _openness(body, rasterizer)
    return torch.stack([flags[name] for name in STATIC], -1)


def _drape(vertices: Tensor, anchors: dict[str, float], rows: int = 32, turns: int = 36) -> Tensor:
    """Returns how far (m) [V] cloth hanging from chest, back and hips stands off the trunk.

    Seen from above, the trunk's outline is widened to what lies above it (cloth hangs) and to
    what lies beside it (cloth spans hollows); the gap to the body's own outline remains.
    """
    top, low = anchors["shoulder_y"] - 0.02, anchors["hip_y"] - 0.12
    x, y, z = (vertices - vertices.new_tensor([0.0, 0.0, 0.5 * anchors["neck_z"]])).unbind(-1)
    trunk = (y < top) & (y > low) & (x.abs() < anchors["shoulder_x"])
    radius = (x * x + z * z).sqrt()
    row = ((top - y) / (top - low) * (rows - 1)).clamp(0, rows - 1).round().long()
    turn = torch.remainder((torch.atan2(x, z) / (2 * math.pi) * turns).round(), turns).long()
    cell = row * turns + turn
    outline = torch.zeros(rows * turns, device=vertices.device)
    outline = outline.scatter_reduce(0, cell[trunk], radius[trunk], "amax").reshape(rows, turns)
    spans = torch.stack(
        [outline.roll(k, 1) * math.cos(k * 2 * math.pi / turns) for k in range(-4, 5)]
    ).amax(0)
    hanging = torch.cummax(spans, 0).values
    hanging = torch.maximum(spans, 0.93 * hanging)
    gap = (hanging.flatten()[cell] - radius).clamp(0.0, 0.07)
    fade = ((top - y) / 0.08).clamp(0, 1) * ((y - low) / 0.08).clamp(0, 1)
    return torch.where(trunk, gap * fade, torch.zeros_like(gap))


def _openness(body: Body, rasterizer: MeshRasterizer, directions: int = 40) -> Tensor:
    """Returns the share [V] of a cosine-weighted sky that each vertex sees, arms half lowered.

    Seen from each of many directions (a Fibonacci sphere), the body is rasterized and vertices
    behind the nearest surface are in shadow.
    """
    params = body.default_params()
    pose = params.pose.clone()
    pose[16, 2], pose[17, 2] = -0.8, 0.8
    mesh = body(params.replace(pose=pose))
    faces = body.topology.faces
    normals = vertex_normals(mesh.vertices, faces)
    k = torch.arange(directions, device=pose.device) + 0.5
    up, turn = 1.0 - 2.0 * k / directions, k * math.pi * (3.0 - math.sqrt(5.0))
    flat = (1.0 - up * up).sqrt()
    toward = torch.stack([flat * turn.cos(), up, flat * turn.sin()], -1)
    seen, _ = seen_from(mesh.vertices[None].expand(directions, -1, -1), toward, faces, rasterizer)
    cosine = (normals[None] * toward[:, None]).sum(-1).clamp_min(0.0)
    return (seen * cosine).sum(0) / cosine.sum(0).clamp_min(1e-3)


def seen_from(
    vertices: Tensor, toward: Tensor, faces: Tensor, rasterizer: MeshRasterizer, size: int = 256
) -> tuple[Tensor, Tensor]:
    """Tells which vertices parallel light from a direction reaches.

    Args:
        vertices: [B V 3] metres.
        toward: [B 3] unit direction to the light.
        faces: [F 3].
        rasterizer: of triangles.
        size: side of the depth picture, px.

    Returns:
        [B V] 1 where light arrives, 0 in shadow; and the depth pictures [B size size].
    """
    screen = light_screen(vertices, toward, vertices, size)
    depth = rasterizer(screen, faces, size, size, orthographic=True).depth
    cell = screen[..., :2].long().clamp(0, size - 1)
    nearest = depth.flatten(1).gather(1, cell[..., 1] * size + cell[..., 0])
    return (screen[..., 2] < nearest + 0.008).float(), depth


def light_screen(points: Tensor, toward: Tensor, extent: Tensor, size: int) -> Tensor:
    """Projects points in parallel along the light onto a square picture that holds `extent`.

    Args:
        points: [B N 3] metres.
        toward: [B 3] unit direction to the light.
        extent: [B M 3] points that must fit into the picture.
        size: side of the picture, px.

    Returns:
        [B N 3] pixel x, pixel y and distance along the light (m, growing away from it).
    """
    side = torch.linalg.cross(torch.tensor([0.0, 1.0, 0.001]).to(toward).expand_as(toward), toward)
    side = side / side.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    # Rows right, down, away: seen from the light, so that front faces keep their winding.
    axes = torch.stack([side, torch.linalg.cross(side, toward), -toward], -2)
    flat, frame = points @ axes.mT, (extent @ axes.mT)[..., :2]
    low, high = frame.amin(1, keepdim=True), frame.amax(1, keepdim=True)
    scale = (size - 2) / (high - low).amax(-1, keepdim=True).clamp_min(1e-3)
    return torch.cat([(flat[..., :2] - low) * scale + 1.0, flat[..., 2:]], -1)


def _stature_gradient(body: Body, top: int, bottom: int) -> Tensor:
    params = body.default_params((body.num_betas,))
    betas = torch.eye(body.num_betas, device=params.betas.device)
    rest = body(params.replace(betas=betas)).rest_vertices[:, [top, bottom], 1]
    base = body(body.default_params()).rest_vertices[[top, bottom], 1]
    return (rest[:, 0] - rest[:, 1]) - (base[0] - base[1])


def _figure_gradient(body: Body, vertices: Tensor, anchors: dict[str, float]) -> Tensor:
    """Returns what a unit of each coefficient adds to how feminine a figure is [S].

    The measure is how far the bust stands out before the breastbone, in units of its own
    deviation over bodies.
    """
    x, y, z = vertices.unbind(-1)
    height = (y - anchors["spine3_y"]).abs() < 0.07
    side = height & (x > 0.35 * anchors["shoulder_x"]) & (x < 0.75 * anchors["shoulder_x"])
    apex = int(torch.where(side, z, torch.full_like(z, -9.0)).argmax())
    middle = (x.abs() < 0.01) & (z > 0)
    bone = int(torch.where(middle, (y - y[apex]).abs(), torch.full_like(z, 9.0)).argmin())
    params = body.default_params((body.num_betas,))
    betas = torch.eye(body.num_betas, device=params.betas.device)
    rest = body(params.replace(betas=betas)).rest_vertices[:, [apex, bone], 2]
    gradient = rest[:, 0] - rest[:, 1] - (z[apex] - z[bone])
    return gradient / gradient.norm().clamp_min(1e-9)


def _face_sets(
    faces: Tensor, vertices: Tensor, parts: dict[str, Tensor], anchors: dict[str, float]
) -> dict[str, Tensor]:
    """Returns masks [F]: where clothes, jackets and hair may ever be."""
    flagged = {}
    for name in ("left_eye", "right_eye", "mouth_interior", "left_hand", "right_hand"):
        flag = torch.zeros(len(vertices), dtype=torch.bool, device=faces.device)
        flag[parts[name]] = True
        flagged[name] = flag[faces].all(1)
    inside = flagged["left_eye"] | flagged["right_eye"] | flagged["mouth_interior"]
    height = vertices[:, 1][faces].mean(1)
    reach = vertices[:, 0].abs()[faces].mean(1)
    hand = reach > anchors["wrist_x"] + 0.3 * (anchors["wrist_x"] - anchors["elbow_x"])
    below_chin = height < 0.5 * (anchors["chin_y"] + anchors["mouth_y"])
    hair = (height > anchors["spine3_y"] - 0.17) & (reach < anchors["shoulder_x"] + 0.04)
    return {
        "cloth": below_chin & ~hand & ~inside,
        "jacket": below_chin & ~hand & ~inside & (height > anchors["knee_y"] - 0.12),
        "hair": hair & ~inside,
    }
