from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from flame_identities import Identities
from flame_people import HEAD, SMILE, Scene, flame_arrays, write_flame

from presence.bodies import load_body
from presence.bodies.mano import PARENTS
from presence.io.images import save_png
from presence.structures import PART_JOINTS, BodyParams, Camera
from presence.tracking.detection import SET_SIZES, Detection
from presence.tracking.landmarks import LandmarkMap
from presence.tracking.relaxed import JOINT, relaxed_pose


@pytest.fixture(scope="session")
def body():
    return load_body("annyx")


@pytest.fixture(scope="session")
def landmarks():
    return LandmarkMap.load("annyx")


@pytest.fixture
def seen(body, landmarks):
    """Known people and what a perfect detector would say of them."""
    return SyntheticPeople(body, landmarks)


@pytest.fixture
def clip(tmp_path):
    """Writes a folder of frames."""

    def write(count, side=64):
        folder = tmp_path / "frames"
        for number in range(count):
            grey = torch.full((3, side, side), 5 * number / 255)
            save_png(folder / f"{number:03d}.png", grey)
        return folder

    return write


@pytest.fixture
def licensed(monkeypatch):
    """The open body under SMPL-X's name, as a stand-in for the user's file."""
    body = load_body("annyx")
    monkeypatch.setattr(body, "name", "SMPLX_NEUTRAL")
    return body


@pytest.fixture
def ids(licensed):
    """Vertices that follow the head alone: FLAME's stand-in is rigid but for expressions."""
    rigid = licensed.weights[:, [HEAD, 22, 23, 24]].sum(1) > 0.99
    return rigid.nonzero()[:, 0]


@pytest.fixture
def home(licensed, ids, tmp_path, monkeypatch):
    """A user's folder: FLAME is the body's head in another size and place, smiles included."""
    monkeypatch.setenv("PRESENCE_HOME", str(tmp_path))
    count, own = len(ids), licensed.exprdirs.unflatten(-1, (-1, 3))  # [E V 3]
    template = 1.2 * licensed.v_template[ids] + torch.tensor([0.0, -1.8, 0.1])
    directions = np.zeros((count, 3, 400))
    for column, name in enumerate(SMILE):
        number = licensed.expression_names.index(name)
        directions[:, :, 300 + column] = 1.2 * own[number, ids].numpy()
    directions[:, :, 0] = 0.03 * (template - template.mean(0)).numpy() * [1, 0, 0]  # wider
    write_flame(tmp_path, flame_arrays(template, directions), ids)
    return tmp_path


@pytest.fixture
def identities(licensed):
    """A FLAME of the whole head, down to the neck, whose shapes are those of heads."""
    return Identities(licensed, licensed.vertex_parts["head"])


@pytest.fixture
def identified(identities, tmp_path, monkeypatch):
    """A user's folder with that FLAME."""
    monkeypatch.setenv("PRESENCE_HOME", str(tmp_path))
    write_flame(tmp_path, identities.arrays(), identities.ids)
    return tmp_path


@pytest.fixture
def scene(licensed, ids, seen):
    scene = Scene(licensed, seen)
    centre = licensed.rest_vertices(scene.params.betas, scene.params.expression)[ids].mean(0)
    scene.flame_centre = centre
    return scene


@pytest.fixture(scope="session")
def hand():
    """The right hand of the embedded body in MANO's layout, and its vertices there."""
    body = load_body("annyx")
    joints = [21, *PART_JOINTS["right_hand"]]
    chosen = (body.weights[:, joints].sum(1) > 0.999).nonzero()[:, 0]
    rest = body.v_template[chosen].double()
    wanted = body.joint_template.reshape(-1, 3)[joints].double()
    basis = torch.cat([rest, torch.ones(len(rest), 1, dtype=torch.float64)], 1)
    target = torch.cat([wanted, torch.ones(16, 1, dtype=torch.float64)], 1)
    arrays = {
        "v_template": rest.numpy(),
        "shapedirs": np.zeros((len(rest), 3, 10)),
        "posedirs": np.zeros((len(rest), 3, 135)),
        "J_regressor": (torch.linalg.pinv(basis.T) @ target.T).T.numpy(),
        "weights": body.weights[chosen][:, joints].double().numpy(),
        "kintree_table": np.array([[2**32 - 1, *PARENTS[1:]], range(16)]),
    }
    return arrays, chosen


class SyntheticPeople:
    def __init__(self, body, landmarks):
        self.body, self.landmarks = body, landmarks

    def params(self, seed: int = 0, yaw: float = 0.3) -> BodyParams:
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(*shape, generator=generator)

        pose = relaxed_pose()
        pose[0] = torch.tensor([0.05, yaw, 0.03])
        pose[JOINT["left_shoulder"]] += torch.tensor([0.1, -0.4, 0.6])
        pose[JOINT["left_elbow"]] = torch.tensor([0.0, -1.1, 0.0])
        pose[JOINT["right_shoulder"]] += torch.tensor([0.0, 0.3, -0.4])
        pose[JOINT["right_elbow"]] = torch.tensor([0.0, 0.7, 0.0])
        pose[JOINT["left_hip"], 0] = -0.3
        pose[JOINT["left_knee"], 0] = 0.5
        pose[JOINT["head"], 1] = 0.2
        pose[JOINT["jaw"], 0] = 0.15
        betas = 0.5 * normal(self.body.num_betas)
        betas[0] = -0.3
        expression = torch.zeros(self.body.num_expression)
        expression[self.body.expression_names.index("mouthSmileLeft")] = 0.6
        expression[self.body.expression_names.index("mouthSmileRight")] = 0.6
        return self.body.default_params().replace(betas=betas, expression=expression, pose=pose)

    def camera(self, params: BodyParams, framing: str, size: int = 800) -> Camera:
        joints = self.body(params).joints
        target, height = {
            "full": (joints[0] - torch.tensor([0.0, 0.1, 0.0]), 2.1),
            "half": (joints[JOINT["spine3"]] + torch.tensor([0.0, 0.1, 0.0]), 0.9),
            "head": (joints[JOINT["head"]] + torch.tensor([0.0, 0.06, 0.0]), 0.35),
        }[framing]
        distance = height / 2 / math.tan(math.radians(10))
        eye = target + torch.tensor([0.0, 0.0, distance])
        return Camera.look_at(eye, target, math.radians(20), size, size)

    def detect(self, params, camera, sets=("pose", "face", "left_hand", "right_hand")):
        """Exact landmarks; those outside the picture are unsure, as a detector's are."""
        mesh = self.body(params)
        keypoints, world = {}, {}
        for name in sets:
            points = self.landmarks.points(self.body, name, mesh)
            px, _ = camera.project(points)
            inside = ((px > 0) & (px < camera.width)).all(-1)
            keypoints[name] = torch.cat([px, inside.float()[:, None] * 0.95 + 0.02], -1)
            assert len(px) == SET_SIZES[name]
            if name != "face":
                cam = camera.to_cam(points)
                world[name] = cam - cam.mean(0)
        return Detection(camera.width, camera.height, keypoints, world)
