"""What the fit needs to know of a body model: normals, outline samples, usual shapes."""

from __future__ import annotations

import torch
from torch import Tensor

from presence.bodies import Body
from presence.tracking.face_regions import IRISES
from presence.tracking.landmarks import LandmarkMap, PointRig

_OUTLINE_VERTICES = 700
_EXPRESSION_SIGMA = 0.5
_STATURE, _STATURE_SIGMA = 1.7, 0.12  # m, of adults


def rest_normals(body: Body, landmarks: LandmarkMap) -> Tensor:
    """Rest normals [478 3] of the facial landmarks; those on the eyeballs look forwards."""
    corners = body.v_template[body.topology.faces[landmarks.sets["face"].face_ids]].double()
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = torch.nn.functional.normalize(normals, dim=-1)
    normals[list(IRISES)] = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    return normals


def shape_prior(body: Body) -> tuple[Tensor, Tensor]:
    """Returns mean and one over standard deviation [S] of the shape coefficients.

    Coefficients have unit variance over everybody, children included. A portrait does not tell
    size, so one that changes stature by much is narrowed to the stature of adults.
    """
    mean = torch.zeros(body.num_betas, dtype=torch.float64)
    scale = torch.ones(body.num_betas, dtype=torch.float64)
    ends = torch.stack([body.v_template[:, 1].argmax(), body.v_template[:, 1].argmin()])
    rig = PointRig.of_vertices(body, ends)
    stature = float(rig.template[0, 1] - rig.template[1, 1])
    growth = (rig.shapedirs[0, 1] - rig.shapedirs[1, 1]).double()  # m for one unit
    tall = growth.abs() > 2 * _STATURE_SIGMA
    mean[tall] = (_STATURE - stature) / growth[tall] / max(int(tall.sum()), 1)
    scale[tall] = growth[tall].abs() / _STATURE_SIGMA
    return mean, scale


def expression_scale(body: Body) -> Tensor:
    """Returns one over each expression coefficient's standard deviation [E]."""
    scale = torch.full((body.num_expression,), 1 / _EXPRESSION_SIGMA, dtype=torch.float64)
    # The tongue is not among the face landmarks; gaze is the eye joints' business.
    for index, name in enumerate(body.expression_names):
        if name.startswith("eyeLook") or name == "tongueOut":
            scale[index] = 20.0
    return scale


def outline_vertices(body: Body) -> Tensor:
    """Vertices of trunk and limbs, evenly spread, on which the mask is compared with the body."""
    parts = ("torso", "left_arm", "right_arm", "left_leg", "right_leg", "neck")
    members = torch.cat([body.vertex_parts[part] for part in parts]).unique()
    points = body.v_template[members].double()
    chosen = [0]
    gaps = torch.full((len(points),), torch.inf, dtype=torch.float64)
    for _ in range(min(_OUTLINE_VERTICES, len(points)) - 1):
        gaps = torch.minimum(gaps, (points - points[chosen[-1]]).square().sum(-1))
        chosen.append(int(gaps.argmax()))
    return members[chosen]
