"""People whose heads and hands made-up part models see exactly, for tests of their stages."""

from __future__ import annotations

import copy

import numpy as np
import torch

from presence.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from presence.interfaces import Estimator
from presence.structures import (
    PART_JOINTS,
    BodyParams,
    Camera,
    Estimate,
    PartEstimate,
    PartModel,
    Portrait,
)
from presence.tracking.fusing.chains import WRISTS, chained

SIDE, HEAD = 480, 15
SMILE = ("mouthSmileLeft", "mouthSmileRight")


class Scene:
    """A half body that smiles, whose face the detector did not find."""

    def __init__(self, body, seen) -> None:
        params = seen.params(0)
        pose = params.pose.clone()
        pose[[22, 23, 24]] = 0.0
        expression = torch.zeros_like(params.expression)
        expression[[body.expression_names.index(name) for name in SMILE]] = torch.tensor([0.8, 0.5])
        self.body = body
        self.params = params.replace(
            pose=pose, expression=expression, betas=torch.zeros_like(params.betas)
        )
        self.camera = seen.camera(self.params, "half", SIDE)
        self.detection = seen.detect(self.params, self.camera, ("pose",))
        self.portrait = Portrait(torch.rand(3, SIDE, SIDE), torch.ones(1, SIDE, SIDE))

    def turned(self, angle: float, seen) -> Scene:
        """The same with the head turned further about the neck's axis, rad; its face is found."""
        other = copy.copy(self)
        pose = self.params.pose.clone()
        pose[HEAD, 1] += angle
        other.params = self.params.replace(pose=pose)
        other.detection = seen.detect(other.params, self.camera, ("pose", "face"))
        return other

    def estimate(self, crop=None) -> Estimate:
        """What a FLAME estimator says that sees the head exactly; half a body of its own.

        Args:
            crop: [3 3] and [3], camera of a crop and where the head joint is before it; None for
                the picture's own.
        """
        pose, camera = self.params.pose.clone(), self.camera.cam_from_world
        pose[0] = matrix_to_axis_angle(camera[:3, :3] @ axis_angle_to_matrix(pose[0]))
        turn = chained(pose, HEAD)
        joints = self.body(self.params).joints
        rest = self.body.rest_joints(self.params.betas, self.params.expression)
        # FLAME's p is 1.2 q + c where the body's is q; 1.2 times as far away, it looks the same.
        shift = torch.tensor([0.0, -1.8, 0.1])
        root = 1.2 * self.flame_centre + shift
        K, at = crop or (self.camera.K, self.camera.to_cam(joints[HEAD : HEAD + 1])[0])
        moved = 1.2 * (at - turn @ rest[HEAD]) - turn @ shift
        head = PartModel(
            turn,
            moved - root + turn @ root,
            K,
            torch.zeros(300),
            torch.tensor([0.8, 0.5]),
            torch.eye(3).repeat(4, 1, 1),
            model="flame2020",
        )
        return Estimate(
            BodyParams(torch.zeros(0), torch.zeros(0), torch.zeros(55, 3), torch.zeros(3)),
            Camera(K, torch.eye(4), SIDE, SIDE),
            parts={"face": PartEstimate(0.9, True, "emica", "made")},
            models={"face": head},
            expression_space="flame2020",
            estimator="emica",
        )


def flame_arrays(template, directions):
    """A FLAME file's arrays: a head that is rigid but for its directions.

    Args:
        template: [V 3].
        directions: [V 3 400].
    """
    count = len(template)
    weights = np.zeros((count, 5))
    weights[:, 1] = 1.0
    return {
        "v_template": template.double().numpy(),
        "f": np.zeros((1, 3), np.int64),
        "shapedirs": directions,
        "posedirs": np.zeros((count, 3, 36)),
        "J_regressor": np.full((5, count), 1 / count),
        "weights": weights,
        "kintree_table": np.array([[-1, 0, 1, 1, 1], [0, 1, 2, 3, 4]]),
    }


def write_flame(home, arrays, ids):
    """Puts FLAME and its vertices on the body into a user's folder."""
    for folder in ("flame", "smplx"):
        (home / "body_models" / folder).mkdir(parents=True)
    np.savez(home / "body_models" / "flame" / "FLAME_NEUTRAL.npz", **arrays)
    np.save(home / "body_models" / "smplx" / "SMPL-X__FLAME_vertex_ids.npy", ids.numpy())


class Known(Estimator):
    name, asset, parts = "known", "", ("face",)

    def __init__(self, estimate, device="cpu") -> None:
        self.estimate = estimate

    def __call__(self, portrait, cues):
        return () if self.estimate is None else (self.estimate,)


def hand_model(body, pose, wrist, side, K) -> PartModel:
    """What a MANO estimator says that sees a body's hand exactly.

    Args:
        body: in its mean shape.
        pose: [55 3], global orientation in the camera's axes.
        wrist: [3] where the wrist is, camera.
        side: "left_hand" or "right_hand".
        K: [3 3] px.
    """
    rest = body.joint_template.reshape(-1, 3)[WRISTS[side]]
    return PartModel(
        chained(pose, WRISTS[side]),
        wrist - rest,
        K,
        torch.zeros(10),
        torch.zeros(0),
        axis_angle_to_matrix(pose[list(PART_JOINTS[side])]),
        model="mano_left" if side == "left_hand" else "mano_right",
    )
