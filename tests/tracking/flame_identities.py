"""A made-up FLAME that has shapes of its own, and people whom it sees exactly, for tests."""

from __future__ import annotations

import numpy as np
import torch
from flame_people import HEAD, SIDE, Scene, flame_arrays

from presence.bodies.flame import Flame
from presence.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from presence.structures import BodyParams, Camera, Estimate, PartEstimate, PartModel
from presence.tracking.fusing.chains import chained

SIZE, SHIFT = 1.2, torch.tensor([0.0, -1.8, 0.1])
"""FLAME's p is SIZE q + SHIFT where the mean body's head has q."""
KNOWN, NECK = 40, 12


class Identities:
    """FLAME's shapes: the forms and sizes of heads that the body's betas make, and widths.

    Args:
        body: under SMPL-X's name.
        ids: [V] vertices of its head.
    """

    def __init__(self, body, ids) -> None:
        self.body, self.ids, self.count = body, ids, len(ids)
        generator = torch.Generator().manual_seed(11)
        betas = torch.randn(200, body.num_betas, generator=generator)
        heads = torch.stack([centred(self.head(b)) for b in betas])
        self.mean = centred(body.v_template[ids])
        _, spread, basis = torch.linalg.svd((heads - self.mean).flatten(1), full_matrices=False)
        wider = self.mean * torch.tensor([1.0, 0.0, 0.0])
        rows = torch.cat([basis[: KNOWN - 1], wider.flatten()[None]])
        self.basis = torch.linalg.qr(rows.T)[0].T  # [KNOWN V*3], orthonormal
        # Metres over all vertices for a coefficient of 1: so much do these people differ.
        self.scale = torch.cat([spread[: KNOWN - 1] / len(betas) ** 0.5, torch.tensor([0.1])])

    def head(self, betas):
        """The head [V 3] that betas make."""
        return self.body.rest_vertices(betas, torch.zeros(self.body.num_expression))[self.ids]

    def coefficients(self, head):
        """FLAME's shape [300] of a head [V 3], whose place it does not know."""
        shape = torch.zeros(300)
        shape[:KNOWN] = self.basis @ (centred(head) - self.mean).flatten() / self.scale
        return shape

    def arrays(self):
        """A FLAME file."""
        directions = np.zeros((self.count, 3, 400))
        moved = SIZE * (self.scale[:, None] * self.basis).unflatten(-1, (-1, 3))
        directions[:, :, :KNOWN] = moved.permute(1, 2, 0).numpy()
        return flame_arrays(SIZE * self.body.v_template[self.ids] + SHIFT, directions)

    def model(self):
        """The FLAME itself."""
        arrays = {name: torch.from_numpy(value).float() for name, value in self.arrays().items()}
        return Flame(
            arrays["v_template"],
            arrays["f"],
            arrays["shapedirs"],
            arrays["posedirs"],
            arrays["J_regressor"],
            arrays["weights"],
        )


class Someone(Scene):
    """A half body of some betas, and of a head that these may not make.

    Args:
        body: under SMPL-X's name.
        seen: what a perfect detector says.
        identities: FLAME's shapes.
        betas: [S] the person's.
        sets: landmarks that are found.
        offsets: [V 3] of the person's rest mesh.
    """

    def __init__(self, body, seen, identities, betas, sets=("pose", "face"), offsets=None) -> None:
        super().__init__(body, seen)
        self.identities = identities
        pose = self.params.pose.clone()
        pose[[NECK, HEAD]] = 0.0  # FLAME's stand-in is rigid, the neck included
        self.params = self.params.replace(
            betas=betas,
            expression=torch.zeros_like(self.params.expression),
            pose=pose,
            offsets=offsets,
        )
        self.camera = seen.camera(self.params, "half", SIDE)
        self.detection = seen.detect(self.params, self.camera, sets)

    @property
    def head(self):
        """The true head at rest, [V 3]."""
        mesh = self.body(self.params.at_rest())
        return mesh.vertices[self.identities.ids]

    def estimate(self, crop=None) -> Estimate:
        """What a FLAME estimator says that sees the head exactly, SIZE times as far away."""
        pose, camera = self.params.pose.clone(), self.camera.cam_from_world
        pose[0] = matrix_to_axis_angle(camera[:3, :3] @ axis_angle_to_matrix(pose[0]))
        turn = chained(pose, HEAD)
        joint = self.body(self.params).joints[HEAD : HEAD + 1]
        rest = self.body.rest_joints(self.params.betas, self.params.expression)[HEAD]
        shape = self.identities.coefficients(self.head)
        moved = self.head.mean(0) - self.body.v_template[self.identities.ids].mean(0)
        root = SIZE * self.body.v_template[self.identities.ids].mean(0) + SHIFT
        at = self.camera.to_cam(joint)[0]
        away = SIZE * (at - turn @ (rest - moved)) - turn @ SHIFT
        head = PartModel(
            turn,
            away - root + turn @ root,
            self.camera.K,
            shape,
            torch.zeros(2),
            torch.eye(3).repeat(4, 1, 1),
            model="flame2020",
        )
        return Estimate(
            BodyParams(torch.zeros(0), torch.zeros(0), torch.zeros(55, 3), torch.zeros(3)),
            Camera(self.camera.K, torch.eye(4), SIDE, SIDE),
            parts={"face": PartEstimate(0.9, True, "emica", "made")},
            models={"face": head},
            expression_space="flame2020",
            estimator="emica",
        )


def centred(points):
    return points - points.mean(-2, keepdim=True)


def form_error(head, truth):
    """Mean distance of a head's vertices [V 3] from the true ones, mm, wherever it sits."""
    return 1000 * float((centred(head) - centred(truth)).norm(dim=-1).mean())
