"""Bodies in a few lines, for fast and exact tests: a sphere, and a head of FLAME's layout."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor

from presence.geometry import axis_angle_to_matrix
from presence.interfaces import Body
from presence.structures import BodyParams, MeshTopology, ProxyMesh


class SphereBody(Body):
    """A UV sphere that moves rigidly with the pelvis; its first beta scales it.

    Closed forms: radius = 0.5 * (1 + betas[0]) metres around `translation`; the upper half is
    "face", the +x and -x ends are the left and right hands.

    Args:
        rings: latitude bands.
        segments: longitude bands; the seam is duplicated in UV only.
    """

    name = "sphere"
    template: Tensor

    def __init__(self, rings: int = 12, segments: int = 24) -> None:
        super().__init__()
        self.num_betas, self.num_expression = 4, 3
        self.expression_names = ["a", "b", "c"]
        vertices, topology = _uv_sphere(rings, segments)
        self.topology = topology
        self.register_buffer("template", 0.5 * vertices, persistent=False)
        x, y = vertices[:, 0], vertices[:, 1]
        self.vertex_parts = {
            "head": (y > 0).nonzero()[:, 0],
            "face": ((y > 0) & (vertices[:, 2] > 0)).nonzero()[:, 0],
            "left_hand": (x > 0.7).nonzero()[:, 0],
            "right_hand": (x < -0.7).nonzero()[:, 0],
        }

    def default_params(self, batch_shape: tuple[int, ...] = ()) -> BodyParams:
        """Returns the unit person at the origin."""
        zeros = functools.partial(torch.zeros, device=self.template.device)
        return BodyParams(
            zeros(*batch_shape, self.num_betas),
            zeros(*batch_shape, self.num_expression),
            zeros(*batch_shape, 55, 3),
            zeros(*batch_shape, 3),
        )

    def forward(self, params: BodyParams) -> ProxyMesh:
        """Scales, turns and moves the sphere."""
        rest = self.template * (1 + params.betas[..., :1, None])
        if params.offsets is not None:
            rest = rest + params.offsets
        turn = axis_angle_to_matrix(params.pose[..., 0, :])
        vertices = rest @ turn.transpose(-1, -2) + params.translation[..., None, :]
        rotations = turn[..., None, :, :].expand(*vertices.shape, 3)
        joints = params.translation[..., None, :].expand(*params.translation.shape[:-1], 55, 3)
        return ProxyMesh(vertices, rest, rotations, joints)


def _uv_sphere(rings: int, segments: int) -> tuple[Tensor, MeshTopology]:
    """Unit sphere: poles are rings of coincident vertices, so that every face has an area in UV."""
    vertices, uv = [], []
    for ring in range(rings + 1):
        polar = math.pi * ring / rings
        for segment in range(segments + 1):
            around = 2 * math.pi * segment / segments
            uv.append([0.02 + 0.96 * segment / segments, 0.98 - 0.96 * ring / rings])
            if segment < segments:
                vertices.append(
                    [
                        math.sin(polar) * math.sin(around),
                        math.cos(polar),
                        math.sin(polar) * math.cos(around),
                    ]
                )
    faces, faces_uv = [], []
    for ring in range(rings):
        for s in range(segments):
            a, b = ring * segments + s, ring * segments + (s + 1) % segments
            ta, tb = ring * (segments + 1) + s, ring * (segments + 1) + s + 1
            if ring > 0:
                faces.append([a, b + segments, b])
                faces_uv.append([ta, tb + segments + 1, tb])
            if ring < rings - 1:
                faces.append([a, a + segments, b + segments])
                faces_uv.append([ta, ta + segments + 1, tb + segments + 1])
    topology = MeshTopology(
        torch.tensor(faces), torch.tensor(faces_uv), torch.tensor(uv), len(vertices)
    )
    return torch.tensor(vertices), topology


def toy_flame_arrays(rings: int = 24, segments: int = 36) -> dict[str, np.ndarray]:
    """Returns a file in FLAME's layout: an egg with a nose, two eyeballs and made-up directions.

    The first five shapes and expressions are smooth deformations of a few mm; the others move
    nothing. The jaw carries the lower front, the eyeballs turn with their joints.
    """
    sphere, topology = _uv_sphere(rings, segments)
    head = sphere * torch.tensor([0.075, 0.1, 0.085])
    nose = torch.exp(-((sphere[:, :2] - torch.tensor([0.0, -0.1])) / 0.12).square().sum(-1))
    head[:, 2] += 0.025 * nose * (sphere[:, 2] > 0)
    ball, ball_topology = _uv_sphere(6, 8)
    centres = torch.tensor([[0.03, 0.02, 0.075], [-0.03, 0.02, 0.075]])
    eyes = [0.012 * ball[:, [0, 2, 1]] + centre for centre in centres]  # a pole looks forwards
    vertices = torch.cat([head, *eyes])
    first, count = len(head), len(ball)
    faces = [topology.faces] + [ball_topology.faces + first + n * count for n in range(2)]
    weights = torch.zeros(len(vertices), 5)
    lower = torch.sigmoid(-(head[:, 1] + 0.04) / 0.01) * torch.sigmoid(head[:, 2] / 0.01)
    weights[:first, 2], weights[:first, 1] = lower, 1 - lower
    for number in range(2):
        weights[first + number * count : first + (number + 1) * count, 3 + number] = 1.0
    joints = torch.tensor([[0.0, -0.1, -0.02], [0.0, -0.08, -0.02], [0.0, -0.03, 0.0]])
    joints = torch.cat([joints, centres])
    # Weights of all vertices that give exactly these joints (the least of all solutions).
    basis = torch.cat([vertices, torch.ones(len(vertices), 1)], 1).double()
    wanted = torch.cat([joints, torch.ones(5, 1)], 1).double()
    regressor = (torch.linalg.pinv(basis.T) @ wanted.T).T
    directions = torch.zeros(len(vertices), 3, 400)
    phase = vertices / 0.05
    for number in range(5):
        wave = torch.sin(phase * (0.5 + 0.2 * number) + number)
        directions[:, :, number] = 0.004 * wave[:, [number % 3, (number + 1) % 3, 2]]
        front = torch.sigmoid((vertices[:, 2:] - 0.03) / 0.01)
        ripple = torch.sin(vertices[:, 1:2] / 0.015 + number) * front
        directions[:, :, 300 + number] = 0.003 * ripple * torch.eye(3)[number % 3]
    return {
        "v_template": vertices.double().numpy(),
        "f": torch.cat(faces).numpy(),
        "shapedirs": directions.double().numpy(),
        "posedirs": np.zeros((len(vertices), 3, 36)),
        "J_regressor": regressor.numpy(),
        "weights": weights.double().numpy(),
        "kintree_table": np.array([[-1, 0, 1, 1, 1], [0, 1, 2, 3, 4]]),
    }
