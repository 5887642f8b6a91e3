"""AnnyX against Anny itself: the error figures that `docs/body.md` reports."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from presence.bodies.body import Body
from presence.bodies.building import tpose
from presence.bodies.building.anny_source import OURS_FROM_ANNY, AnnySource, People
from presence.bodies.building.annyx import average_person, t_posed
from presence.bodies.joints import BODY_JOINTS, JAW, LEFT_EYE, NUM_JOINTS, PARENTS
from presence.bodies.skinning import forward_kinematics
from presence.geometry import axis_angle_to_matrix


@dataclasses.dataclass(frozen=True)
class Distances:
    """Vertex distances in millimetres.

    Attributes:
        mean: over people and vertices.
        p95: 95th percentile of the people's means.
        largest: of all vertices of all people.
    """

    mean: float
    p95: float
    largest: float

    @classmethod
    def between(cls, first: np.ndarray, second: np.ndarray) -> Distances:
        """Measures two sets of meshes [N V 3] in metres."""
        distance = np.linalg.norm(first - second, axis=-1) * 1e3
        each = distance.mean(-1)
        return cls(float(each.mean()), float(np.quantile(each, 0.95)), float(distance.max()))

    def __str__(self) -> str:
        return f"{self.mean:.2f} mm mean, {self.p95:.2f} mm 95%, {self.largest:.1f} mm largest"


def fit_shape(body: Body, vertices: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Fits the shipped body's shape to T-posed people by least squares.

    Returns:
        Betas [N components] and fitted rest meshes [N V 3].
    """
    basis = body.shapedirs[:components].double().numpy()
    template = body.v_template.double().numpy()
    offsets = (vertices - template).reshape(len(vertices), -1)
    betas = np.linalg.solve(basis @ basis.T, basis @ offsets.T).T
    return betas, template + (betas @ basis).reshape(vertices.shape)


def shape_figures(
    source: AnnySource, body: Body, *, people: int = 200, seed: int = 1
) -> dict[str, Distances]:
    """Fits held-out people in the rest pose.

    Returns:
        Distances by population: phenotypes alone, over every age and over adults, with the
        first 20 components; adults with local changes with all of them.
    """
    rng = np.random.default_rng(seed)
    everyone = source.random_phenotypes(rng, people, adults=False)
    adults = source.random_phenotypes(rng, people, adults=True)
    changes = source.random_local_changes(rng, people)
    mild = source.random_local_changes(rng, people, strength=0.25)
    strong = source.random_local_changes(rng, people, strength=0.5)
    sets = {
        "phenotypes, all ages, 20 components": (everyone, None, 20),
        "phenotypes, adults, 20 components": (adults, None, 20),
        "adults with local changes of +-0.25, 50 components": (adults, mild, 50),
        "adults with local changes of +-0.3, 50 components": (adults, changes, 50),
        f"adults with local changes of +-0.3, {body.num_betas} components": (
            adults,
            changes,
            body.num_betas,
        ),
        f"adults with local changes of +-0.5, {body.num_betas} components": (
            adults,
            strong,
            body.num_betas,
        ),
    }
    out = {}
    for name, (phenotypes, local, components) in sets.items():
        vertices, _ = t_posed(source, source.people(phenotypes, local))
        out[name] = Distances.between(fit_shape(body, vertices, components)[1], vertices)
    return out


def joint_figures(source: AnnySource, body: Body, *, people: int = 200, seed: int = 2) -> Distances:
    """Compares regressed joints with where Anny's bones are, over adults with local changes."""
    rng = np.random.default_rng(seed)
    phenotypes = source.random_phenotypes(rng, people, adults=True)
    changes = source.random_local_changes(rng, people)
    vertices, joints = t_posed(source, source.people(phenotypes, changes))
    regressor = body.joint_regressor.double().numpy()
    return Distances.between(np.einsum("jv,nvk->njk", regressor, vertices), joints)


def random_poses(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draws [N 55 3] axis-angle poses: any facing, limbs by 0.35 rad a component, hands too."""
    spread = np.full((NUM_JOINTS, 1), 0.25)
    spread[BODY_JOINTS] = 0.35
    spread[JAW] = 0.1
    spread[LEFT_EYE : LEFT_EYE + 2] = 0.2
    for stiff in (3, 6, 9, 12, 13, 14, 15):  # spine, neck, collars, head
        spread[stiff] = 0.15
    poses = rng.normal(0.0, 1.0, (count, NUM_JOINTS, 3)) * spread
    poses[:, JAW, 1:] *= 0.3
    poses[:, 0] = rng.normal(0.0, 0.8, (count, 3))
    return poses


def pose_figures(
    source: AnnySource, body: Body, *, poses: int = 200, seed: int = 3
) -> dict[str, Distances]:
    """Runs the same poses through AnnyX and through Anny's own skeleton and skinning.

    Returns:
        Distances for the average person, and for adults (phenotypes and local changes) whose
        shape was fitted first.
    """
    rng = np.random.default_rng(seed)
    pose = random_poses(rng, poses)
    phenotypes = source.random_phenotypes(rng, poses, adults=True)
    changes = source.random_local_changes(rng, poses)
    out = {}
    for name, people in (
        ("average person", average_person(source)),
        ("random adults", source.people(phenotypes, changes)),
    ):
        if len(people.heads) == 1:
            people = People(*(np.repeat(getattr(people, f), poses, 0) for f in _FIELDS))
        theirs = anny_posed(source, people, pose)
        betas, _ = fit_shape(body, tpose.t_pose(source, people).vertices, body.num_betas)
        ours = annyx_posed(body, betas, pose)
        out[name] = Distances.between(ours, theirs)
    return out


_FIELDS = ("vertices", "heads", "tails")


def annyx_posed(body: Body, betas: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Returns AnnyX's vertices [N V 3] for betas [N S] and poses [N 55 3]."""
    vertices = []
    with torch.no_grad():
        for one_betas, one_pose in zip(betas, pose, strict=True):
            params = body.default_params().replace(
                betas=torch.as_tensor(one_betas).float(), pose=torch.as_tensor(one_pose).float()
            )
            vertices.append(body(params).vertices.double().numpy())
    return np.stack(vertices)


def anny_posed(source: AnnySource, people: People, pose: np.ndarray) -> np.ndarray:
    """Returns the vertices [N V 3] of people posed by Anny's own forward kinematics.

    Every bone takes the world rotation of the SMPL-X joint that carries it, on top of the
    T-pose; the result is placed with the pelvis joint at the origin.
    """
    pelvis = source.labels.index("spine04")
    owners = tpose.bone_joints(source)
    rest_joints = torch.zeros(len(pose), NUM_JOINTS, 3, dtype=torch.float64)
    local = axis_angle_to_matrix(torch.as_tensor(pose))
    world, _ = forward_kinematics(local, rest_joints, PARENTS)
    to_t_pose = tpose.t_pose_rotations(source, people)
    turned = world.numpy()[:, owners] @ to_t_pose  # [N B 3 3]
    vertices = []
    for index in range(len(pose)):
        vertices.append(_anny_forward(source, people, index, turned[index], pelvis))
    return np.stack(vertices)


def _anny_forward(
    source: AnnySource, people: People, index: int, turned: np.ndarray, pelvis: int
) -> np.ndarray:
    """Poses one person with Anny's model code, in its axes, and returns vertices in ours."""
    import anny.utils.kinematics as kinematics

    model, back = source.model, OURS_FROM_ANNY.T
    heads = people.heads[index] @ back.T
    rest = np.tile(np.eye(4), (1, len(heads), 1, 1))
    rest[0, :, :3, 3] = heads
    delta = np.tile(np.eye(4), (1, len(heads), 1, 1))
    delta[0, :, :3, :3] = back @ turned @ back.T
    transforms, posed = kinematics.forward_kinematic(
        (model.kinematic_chain_levels, model.kinematic_chain_indices),
        torch.as_tensor(rest),
        torch.as_tensor(delta),
        "world-orient",
    )
    vertices = model.get_skinned_vertices(
        torch.as_tensor(people.vertices[index] @ back.T)[None], transforms
    )[0]
    return (vertices - posed[0, pelvis, :3, 3]).numpy() @ OURS_FROM_ANNY.T
