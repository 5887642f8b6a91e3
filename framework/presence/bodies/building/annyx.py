"""Assembling AnnyX: T-posed people, shape basis, joints, expressions, parts and atlas."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np

from presence.bodies.building import tpose
from presence.bodies.building.anny_source import AnnySource, People
from presence.bodies.building.atlas import build_atlas
from presence.bodies.building.mirror import mirror_vertices
from presence.bodies.building.parts import face_labels, vertex_parts
from presence.bodies.building.pieces import Surface
from presence.bodies.building.regressor import fit_joint_regressor
from presence.bodies.building.shape import learn_shape
from presence.bodies.data import BodyData
from presence.bodies.joints import JOINT_NAMES

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class BuildOptions:
    """What can be chosen when AnnyX is built.

    Attributes:
        num_betas: shape components in all; the first `num_body_betas` are body type.
        num_body_betas: components learned from phenotypes alone.
        samples: people drawn for each of the two sets.
        face_weight: how much a face vertex counts against a body vertex in the later ones.
        seed: of the people drawn.
    """

    num_betas: int = 80
    num_body_betas: int = 20
    samples: int = 1200
    face_weight: float = 4.0
    seed: int = 0


def t_posed(source: AnnySource, people: People) -> tuple[np.ndarray, np.ndarray]:
    """Returns T-posed vertices [N V 3] and SMPL-X joints [N 55 3] of people."""
    posed = tpose.t_pose(source, people)
    return posed.vertices, smplx_joints(source, posed)


def smplx_joints(source: AnnySource, posed: tpose.TPose) -> np.ndarray:
    """Returns [N 55 3] joints in SMPL-X's order from T-posed bone heads.

    The pelvis joint lies at the upper end of the pelvis as SMPL-X has it, the foot joint at the
    ball of the foot, and the eyes at the eyeballs' centres.
    """
    bones = tpose.joint_bones()
    joints = np.empty((len(posed.heads), len(JOINT_NAMES), 3))
    for index, name in enumerate(JOINT_NAMES):
        if name in bones:
            joints[:, index] = posed.heads[:, source.labels.index(bones[name])]
    joints[:, 0] = posed.heads[:, source.labels.index("spine04")]
    weights = tpose.merged_weights(source)
    for side, letter in (("left", "L"), ("right", "R")):
        toes = [source.labels.index(f"toe{toe}-1.{letter}") for toe in range(1, 6)]
        joints[:, JOINT_NAMES.index(f"{side}_foot")] = posed.heads[:, toes].mean(1)
        eye = JOINT_NAMES.index(f"{side}_eye")
        ball = posed.vertices[:, weights[:, eye] > 0.99]
        joints[:, eye] = (ball.min(1) + ball.max(1)) / 2
    return joints


def average_person(source: AnnySource) -> People:
    """Returns the person that all coefficients zero stand for: an average young adult."""
    phenotypes = np.full((1, len(source.model.phenotype_labels)), 0.5)
    phenotypes[:, source.model.phenotype_labels.index("age")] = 2.0 / 3.0
    return source.people(phenotypes)


def training_people(
    source: AnnySource, options: BuildOptions
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Returns (vertices, joints) of people by phenotype alone, and of adults with local changes."""
    rng = np.random.default_rng(options.seed)
    count = options.samples
    adults = source.random_phenotypes(rng, count // 2, adults=True)
    anyone = source.random_phenotypes(rng, count - count // 2, adults=False)
    bodies = t_posed(source, source.people(np.concatenate([adults, anyone])))
    phenotypes = source.random_phenotypes(rng, count, adults=True)
    changes = source.random_local_changes(rng, count)
    details = t_posed(source, source.people(phenotypes, changes))
    return bodies, details


def build_annyx(source: AnnySource, options: BuildOptions) -> BodyData:
    """Builds AnnyX from Anny; takes about a minute.

    Args:
        source: Anny.
        options: sizes and seed.
    """
    mean, mean_joints = (a[0] for a in t_posed(source, average_person(source)))
    (bodies, body_joints), (details, detail_joints) = training_people(source, options)
    logger.info("T-posed %d people", len(bodies) + len(details))
    weights = tpose.merged_weights(source)
    parts = vertex_parts(source, weights, mean)
    basis = learn_shape(
        mean,
        bodies.astype(np.float32),
        details.astype(np.float32),
        detail_weights(parts, len(mean), options.face_weight),
        num_bodies=options.num_body_betas,
        num_details=options.num_betas - options.num_body_betas,
    )
    expressions = source.expressions.transpose(1, 2, 0)  # [V 3 52]
    regressor = fit_regressor(
        mean, mean_joints, (bodies, body_joints), (details, detail_joints), expressions
    )
    mirror = mirror_vertices(mean)
    surface = Surface(mean, source.faces, mirror, mean_joints, weights, face_labels(source))
    layout = build_atlas(surface, texel_importance(parts, weights, source.faces))
    logger.info("laid out %d charts", len(layout.chart_names))
    data = BodyData(
        name="annyx",
        v_template=mean,
        faces=source.faces,
        shapedirs=basis.directions,
        exprdirs=expressions,
        posedirs=None,
        joint_regressor=regressor,
        weights=weights,
        uv=layout.uv,
        faces_uv=layout.faces_uv,
        expression_names=tuple(source.expression_names),
        parts=parts,
        mirror_vertices=mirror,
        face_charts=layout.face_charts,
        chart_names=layout.chart_names,
        chart_cells=layout.chart_cells,
        chart_mirrors=layout.chart_mirrors,
    )
    return data


def texel_importance(
    parts: dict[str, np.ndarray], weights: np.ndarray, faces: np.ndarray
) -> np.ndarray:
    """Returns [V] texels wanted a unit of area: more on the face, few between the toes."""
    importance = np.ones(len(weights))
    importance[parts["face"]] = 3.0
    toes = [JOINT_NAMES.index("left_foot"), JOINT_NAMES.index("right_foot")]
    importance[weights[:, toes].sum(1) > 0.5] = 0.1
    for _ in range(8):  # no sudden change of density from one face to the next
        of_faces = importance[faces].mean(1)
        total = np.bincount(faces.ravel(), np.repeat(of_faces, 3), len(importance))
        importance = total / np.bincount(faces.ravel(), minlength=len(importance))
    return importance


def detail_weights(parts: dict[str, np.ndarray], count: int, face_weight: float) -> np.ndarray:
    """Returns [V] weights for the later shape components: faces count more, insides less."""
    weights = np.ones(count)
    weights[parts["face"]] = face_weight
    weights[parts["interior"]] = 0.1
    return weights


def fit_regressor(
    mean: np.ndarray,
    mean_joints: np.ndarray,
    bodies: tuple[np.ndarray, np.ndarray],
    details: tuple[np.ndarray, np.ndarray],
    expressions: np.ndarray,
) -> np.ndarray:
    """Fits the joint regressor over people and over expressions, which leave joints in place."""
    expressed = mean + expressions.transpose(2, 0, 1)
    still = np.broadcast_to(mean_joints, (len(expressed), *mean_joints.shape))
    vertices = np.concatenate([bodies[0][::4], details[0][::4], np.repeat(expressed, 4, 0)])
    joints = np.concatenate([bodies[1][::4], details[1][::4], np.repeat(still, 4, 0)])
    return fit_joint_regressor(vertices, joints)
