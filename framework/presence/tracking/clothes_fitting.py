"""How far clothes stand off the body, from masks of people whose bodies are known."""

from __future__ import annotations

import torch
from torch import Tensor

from presence.bodies import Body
from presence.geometry import vertex_normals
from presence.structures import Camera, ProxyMesh
from presence.tracking.silhouette import SilhouetteTarget

_NEAR, _PRIOR_COUNT = 0.03, 20.0  # m about an outline point that share observations; of the mean
_CLOTHES_REACH, _THINNEST = 0.1, -0.03  # m
_HEAD_RADIUS = 0.2  # m, hair is no clothes


def clothes_gaps(
    body: Body, mesh: ProxyMesh, camera: Camera, mask: SilhouetteTarget, outline: Tensor
) -> Tensor:
    """Returns outline points of a known body with the metres to the mask's contour there: [n 2].

    Args:
        body: the model.
        mesh: of the person, unbatched.
        camera: unbatched.
        mask: the person's.
        outline: [N] vertices, of `outline_vertices`.
    """
    px, depth = camera.project(mesh.vertices[outline])
    metres = float(depth.mean() / camera.K[0, 0])
    normals = vertex_normals(mesh.vertices, body.topology.faces)[outline]
    turned = (normals @ camera.cam_from_world[:3, :3].T).double()
    head, _ = camera.project(mesh.vertices[body.vertex_parts["head"]])
    avoid = head.double().mean(0), _HEAD_RADIUS / metres
    points, contour = mask.pair(px.double(), turned, _CLOTHES_REACH / metres, 400, avoid)
    gap = ((mask.contour[contour] - px[points].double()) * mask.normals[contour]).sum(-1) * metres
    return torch.stack([points.double(), gap.clamp(_THINNEST, _CLOTHES_REACH)], -1)


def clothes_thickness(body: Body, outline: Tensor, gaps: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean and deviation [N] (m) of clothes' thickness.

    Observations count for neighbouring points on both sides of the body.

    Args:
        body: the model.
        outline: [N] vertices.
        gaps: [n 2] of `clothes_gaps`, of many people.
    """
    count = len(outline)
    points, gap = gaps[:, 0].long(), gaps[:, 1]

    def summed(values: Tensor) -> Tensor:
        return torch.zeros(count, dtype=torch.float64).index_add_(0, points, values)

    places = body.v_template[outline].double()
    mirrored = places * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    near = torch.exp(-0.5 * (torch.cdist(places, places) / _NEAR).square())
    near = near + torch.exp(-0.5 * (torch.cdist(places, mirrored) / _NEAR).square())
    number = near @ summed(torch.ones_like(gap)) + _PRIOR_COUNT
    mean = (near @ summed(gap) + _PRIOR_COUNT * gap.mean()) / number
    squares = (near @ summed(gap.square()) + _PRIOR_COUNT * gap.square().mean()) / number
    return mean, (squares - mean.square()).clamp_min(1e-5).sqrt()
