"""What one estimator says of one person in one picture, and the cues that it is given."""

from __future__ import annotations

import dataclasses
from typing import Literal

from torch import Tensor

from presence.structures.base import TensorStruct, static, tensor
from presence.structures.body import BodyParams
from presence.structures.camera import Camera
from presence.structures.part import PartEstimate

PART_JOINTS: dict[str, tuple[int, ...]] = {
    "upper": (0, 3, 6, 9, 13, 14, 16, 17, 18, 19, 20, 21),
    "lower": (1, 2, 4, 5, 7, 8, 10, 11),
    "head": (12, 15),
    "face": (22, 23, 24),
    "left_hand": tuple(range(25, 40)),
    "right_hand": tuple(range(40, 55)),
}
"""Joints of `BodyParams.pose` that each part names; wrists and global orientation are "upper"'s,
expression is "face"'s."""

ExpressionSpace = Literal["", "smplx", "flame2020", "annyx"]
RootRule = Literal["kept", "flipped", "turned"]
PartModelName = Literal["mano_left", "mano_right", "flame2020"]


@dataclasses.dataclass(frozen=True, eq=False)
class PartModel(TensorStruct):
    """A part as its own body model (MANO, FLAME) has it, before it is joined to a body.

    Attributes:
        rotation: [... 3 3] of the model's root, camera axes from the model's axes.
        translation: [... 3] metres, camera axes; `place` says where a point is seen.
        K: [... 3 3] px, of the whole picture: the camera that `translation` is for.
        shape: [... S] the model's own shape coefficients.
        expression: [... E] the model's own expression coefficients, E = 0 for hands.
        joints: [... J 3 3] of its joints relative to their parents, in the model's order.
        model: which body model.
        root: where the root joint J goes before `translation`: it is `"kept"` where the network's
            model stands in the camera's axes; `"flipped"` to (x, -y, -z) where y and z of the
            posed model are negated; `"turned"` with the model where that turns about its origin.
    """

    rotation: Tensor = tensor("3 3")
    translation: Tensor = tensor("3", unit="m")
    K: Tensor = tensor("3 3", unit="px")
    shape: Tensor = tensor("S")
    expression: Tensor = tensor("E")
    joints: Tensor = tensor("J 3 3")
    model: PartModelName = static(default="mano_right")
    root: RootRule = static(default="kept")

    def place(self, points: Tensor, root: Tensor) -> Tensor:
        """Returns points [... N 3] of the model in the camera's frame [... N 3], metres.

        Args:
            points: posed but for the root's rotation.
            root: [... 3] the root joint of the shaped model at rest.
        """
        turned = (points - root[..., None, :]) @ self.rotation.mT
        flip = root.new_tensor([1.0, -1.0, -1.0])
        moved = {
            "kept": root,
            "flipped": root * flip,
            "turned": (self.rotation @ root[..., None])[..., 0],
        }[self.root]
        return turned + (moved + self.translation)[..., None, :]


@dataclasses.dataclass(frozen=True, eq=False)
class Estimate(TensorStruct):
    """What one estimator finds of one person in one picture.

    The world is the camera: OpenCV axes (+x right, +y down, +z forward), metres, so that
    `camera.cam_from_world` is the identity and somebody upright has a pelvis turned by pi about x.

    Attributes:
        body: SMPL-X parameters; hands absolute (flat hand = zero). Joints of parts that are not in
            `parts` are zero; betas or expression that are not estimated have length 0.
        camera: of the whole picture.
        anchor: the joint whose position `body.translation` is; None where it is SMPL-X's own
            translation. `presence.estimation.anchors.resolve_anchor` turns one into the other.
        parts: part (of `PART_JOINTS`) to how far it may be used; absent parts are not estimated.
        models: part to its own body model's parameters.
        keypoints: name of a set to [K 3] of pixel x, pixel y, confidence.
        expression_space: whose coefficients `body.expression` are, and `body.betas` too.
        estimator: name of the estimator.
        notes: one line a decision, for the report.
        held: parts that a prior holds in a relaxed pose where nothing was seen of them, so that
            their pose may stay though they are not seen.
    """

    body: BodyParams
    camera: Camera
    anchor: int | None = static(default=None)
    parts: dict[str, PartEstimate] = static(default_factory=dict)
    models: dict[str, PartModel] = static(default_factory=dict)
    keypoints: dict[str, Tensor] = static(default_factory=dict)
    expression_space: ExpressionSpace = static(default="")
    estimator: str = static(default="")
    notes: tuple[str, ...] = static(default=())
    held: tuple[str, ...] = static(default=())


@dataclasses.dataclass(frozen=True)
class Cues:
    """What is known of a picture before an estimator runs; estimators run no detectors.

    Attributes:
        person: [4] box left, top, right, bottom, px.
        keypoints: name of a set ("pose", "face", "left_hand", "right_hand", "sapiens308") to
            [K 3] of pixel x, pixel y, confidence; hands have the 21 points of MediaPipe and
            OpenPose (wrist, then thumb to little finger from base to tip).
        K: [3 3] px, the picture's intrinsics where they are known.
        models: part to what an earlier estimator found of it, to start from.
    """

    person: Tensor | None = None
    keypoints: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    K: Tensor | None = None
    models: dict[str, PartModel] = dataclasses.field(default_factory=dict)
