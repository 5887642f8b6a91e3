"""The shipped AnnyX: what downstream code counts on in its geometry and its expressions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from presence.bodies import JOINT_NAMES
from presence.bodies.joints import mirror_joint
from presence.bodies.loading import embedded_path

ARKIT_EXAMPLES = ("jawOpen", "eyeBlinkLeft", "mouthSmileRight", "browInnerUp", "tongueOut")


def test_size_and_counts(annyx):
    assert embedded_path().stat().st_size <= 12e6
    assert (annyx.num_vertices, len(annyx.topology.faces)) == (13718, 27420)
    assert annyx.num_betas >= 50 and annyx.num_expression == 52
    assert len(set(annyx.expression_names)) == 52
    assert set(ARKIT_EXAMPLES) <= set(annyx.expression_names)


def test_t_pose_axes_and_proportions(annyx):
    joints = annyx(annyx.default_params()).joints
    at = {name: joints[index] for index, name in enumerate(JOINT_NAMES)}
    assert at["pelvis"].norm() < 2e-3
    for side, sign in (("left", 1.0), ("right", -1.0)):
        arm = (at[f"{side}_wrist"] - at[f"{side}_shoulder"]) * torch.tensor([sign, 1.0, 1.0])
        assert torch.nn.functional.normalize(arm, dim=0)[0] > 0.99  # stretched out sideways
        leg = at[f"{side}_ankle"] - at[f"{side}_hip"]
        assert torch.nn.functional.normalize(leg, dim=0)[1] < -0.99  # straight down
        assert at[f"{side}_foot"][2] > at[f"{side}_ankle"][2]  # facing +z
        thumb = at[f"{side}_thumb3"] - at[f"{side}_wrist"]
        assert thumb[2] > 0.03  # palms down, thumbs forwards
    # Hinges of straight limbs: elbows and fingers lie on the line of the arm within 2 cm.
    for name in ("left_elbow", "left_middle2", "left_index2"):
        assert abs(at[name][1] - at["left_wrist"][1]) < 0.02


def test_left_and_right_are_mirror_images(annyx):
    mirror = annyx.mirror_vertices
    assert torch.equal(mirror[mirror], torch.arange(annyx.num_vertices))
    flip = torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(annyx.v_template[mirror], annyx.v_template * flip, atol=1e-6, rtol=0)
    joints = annyx(annyx.default_params()).joints
    partner = [JOINT_NAMES.index(mirror_joint(name)) for name in JOINT_NAMES]
    torch.testing.assert_close(joints[partner], joints * flip, atol=1e-3, rtol=0)


def test_mirrored_expressions_are_mirror_images(annyx):
    directions = annyx.exprdirs.unflatten(1, (-1, 3))  # [E, V, 3]
    for name in ("eyeBlink", "mouthSmile", "browDown", "cheekSquint"):
        left, right = (annyx.expression_names.index(f"{name}{s}") for s in ("Left", "Right"))
        mirrored = directions[left][annyx.mirror_vertices] * torch.tensor([-1.0, 1.0, 1.0])
        assert (mirrored - directions[right]).norm(dim=-1).max() < 2e-3


def test_mesh_is_closed_around_a_persons_volume(annyx):
    corners = annyx.v_template[annyx.topology.faces].double()
    cross = torch.linalg.cross(corners[:, 1], corners[:, 2])
    volume = (corners[:, 0] * cross).sum() / 6
    assert 0.05 < volume < 0.1  # cubic metres
    sides = np.sort(annyx.topology.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).numpy(), 1)
    _, counts = np.unique(sides, axis=0, return_counts=True)
    assert (counts == 2).all()


def test_parts_are_where_their_names_say(annyx):
    parts, rest = annyx.vertex_parts, annyx.v_template
    centre = {name: rest[ids].mean(0) for name, ids in parts.items() if len(ids)}
    assert centre["head"][1] > centre["neck"][1] > centre["torso"][1] > centre["left_leg"][1]
    assert centre["face"][2] > centre["head"][2]
    for part in ("arm", "hand", "leg", "foot", "eye"):
        assert centre[f"left_{part}"][0] > 0 > centre[f"right_{part}"][0]
        ids = annyx.mirror_vertices[parts[f"left_{part}"]].sort().values
        assert torch.equal(ids, parts[f"right_{part}"])
    assert centre["left_hand"][0] > centre["left_arm"][0]
    assert len(parts["mouth_interior"]) > 0
    exclusive = ["head", "neck", "torso"]
    exclusive += [f"{s}_{p}" for s in ("left", "right") for p in ("arm", "hand", "leg", "foot")]
    together = torch.cat([parts[name] for name in exclusive])
    assert len(together) == len(torch.unique(together))


@pytest.mark.parametrize(
    ("name", "part", "direction"),
    [
        ("jawOpen", "chin", (0.0, -1.0, 0.0)),
        ("eyeBlinkLeft", "left_lid", (0.0, -1.0, 0.0)),
        ("mouthPucker", "lips", (0.0, 0.0, 1.0)),
    ],
)
def test_expressions_move_the_face_their_way(annyx, name, part, direction):
    params = annyx.default_params()
    params.expression[annyx.expression_names.index(name)] = 1.0
    moved = annyx(params).vertices - annyx.v_template
    eye = annyx.v_template[annyx.vertex_parts["left_eye"]].mean(0)
    face = annyx.vertex_parts["face"]
    x, y, _ = annyx.v_template[face].unbind(-1)
    near = {
        "chin": (y < eye[1] - 0.09) & (x.abs() < 0.02),
        "left_lid": ((x - eye[0]).abs() < 0.01) & (y > eye[1] + 0.004) & (y < eye[1] + 0.014),
        "lips": (x.abs() < 0.012) & ((y - eye[1] + 0.068).abs() < 0.012),
    }[part]
    along = moved[face[near]] @ torch.tensor(direction)
    assert along.median() > 0.001
    body = torch.ones(annyx.num_vertices, dtype=torch.bool)
    body[annyx.vertex_parts["head"]] = False
    body[annyx.vertex_parts["neck"]] = False
    assert moved[body].norm(dim=-1).max() < 0.02


def test_betas_are_ordered_body_first(annyx):
    """The first component is stature; the later ones change it little."""
    directions = annyx.shapedirs.unflatten(1, (-1, 3))
    means = directions.norm(dim=-1).mean(1)
    assert means[0] == means.max() and means.min() > 5e-5  # none is empty
    tall = directions[:, :, 1]
    heights = tall.max(1).values - tall.min(1).values
    assert heights[0] > 0.3 and heights[20:].max() < 0.05


def test_later_components_mind_the_face(annyx):
    """Beyond the body-type components, more of the change is within the face."""

    def change(components: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        moved = components.unflatten(1, (-1, 3))[:, ids]
        moved = moved - moved.mean(1, keepdim=True)  # without the part's motion as a whole
        return moved.norm(dim=-1).square().sum(0).sqrt().mean()

    face, torso = annyx.vertex_parts["face"], annyx.vertex_parts["torso"]
    body, detail = annyx.shapedirs[:20], annyx.shapedirs[20:]
    assert change(detail, face) / change(detail, torso) > change(body, face) / change(body, torso)


def test_skin_weights_and_regressor_sum_to_one(annyx):
    assert (annyx.weights >= 0).all()
    torch.testing.assert_close(annyx.weights.sum(1), torch.ones(annyx.num_vertices))
    rows = annyx.joint_regressor.double().sum(1)
    torch.testing.assert_close(rows, torch.ones(55, dtype=torch.float64), atol=1e-5, rtol=0)
    assert ((annyx.joint_regressor != 0).sum(1) <= 96).all()
