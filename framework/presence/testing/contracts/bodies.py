"""The contract of body models: topology, rest pose, rigid motion, batches, gradients."""

from __future__ import annotations

import math

import torch

from presence.geometry import axis_angle_to_matrix
from presence.interfaces import Body
from presence.structures import ProxyMesh
from presence.testing.contracts.common import (
    require,
    require_equal,
    require_finite,
    sample_people,
)

PARTS = (
    *("head", "face", "neck", "torso", "left_arm", "right_arm", "left_hand", "right_hand"),
    *("left_leg", "right_leg", "left_foot", "right_foot", "left_eye", "right_eye"),
)


def check_body(body: Body, *, device: str = "cpu") -> None:
    """Checks a body model.

    Args:
        body: on `device`.
        device: where to run.

    Raises:
        ContractError: what is broken.
    """
    _check_topology(body)
    with torch.no_grad():
        _check_rest_pose(body)
        _check_rigid_motion(body)
        _check_batches(body, device)
        _check_offsets(body, device)
    _check_gradients(body)


def _check_topology(body: Body) -> None:
    topology = body.topology
    count = topology.num_vertices
    require(topology.faces.dtype == torch.int64, body, "faces should be int64")
    require(topology.faces.min() >= 0 and topology.faces.max() < count, body, "faces name vertices")
    require(topology.faces_uv.shape == topology.faces.shape, body, "every face has UV corners")
    require(topology.faces_uv.max() < topology.uv.shape[0], body, "UV corners should exist")
    inside = (topology.uv >= 0).all() and (topology.uv <= 1).all()
    require(inside, body, "texture coordinates should be in 0..1")
    missing = [part for part in PARTS if part not in body.vertex_parts]
    require(not missing, body, f"vertex_parts lacks {missing}")
    for part, ids in body.vertex_parts.items():
        fits = ids.numel() == 0 or (ids.min() >= 0 and ids.max() < count)
        require(fits, body, f"vertex_parts[{part!r}] should name vertices")


def _check_rest_pose(body: Body) -> None:
    params = body.default_params()
    sizes = (params.betas.shape[-1], params.expression.shape[-1])
    require(sizes == (body.num_betas, body.num_expression), body, f"default sizes are {sizes}")
    mesh = body(params)
    require(isinstance(mesh, ProxyMesh), body, "forward should give a ProxyMesh")
    count = body.topology.num_vertices
    require(mesh.vertices.shape == (count, 3), body, f"vertices should be [{count} 3]")
    error = (mesh.vertices - mesh.rest_vertices).abs().max()
    require(error < 1e-5, body, f"pose zero is the rest pose, differs by {float(error):.2g} m")
    identity = torch.eye(3, device=mesh.vertices.device)
    error = (mesh.skin_rotations - identity).abs().max()
    require(error < 1e-5, body, "skinning does not turn anything in the rest pose")
    corners = mesh.vertices[body.topology.faces].double()
    volume = float(torch.linalg.det(corners).sum() / 6)
    require(
        0.02 < volume < 0.3, body, f"faces look outwards, a person has 20-300 l: {volume:.3f} m3"
    )
    height = float(mesh.vertices[:, 1].max() - mesh.vertices[:, 1].min())
    require(1.0 < height < 2.5, body, f"units are metres, +y is up: height {height:.2f}")
    nose = mesh.vertices[body.vertex_parts["face"]].mean(0) - mesh.vertices[
        body.vertex_parts["head"]
    ].mean(0)
    require(nose[2] > 0, body, "the person faces +z")
    left = mesh.vertices[body.vertex_parts["left_hand"]].mean(0)
    require(left[0] > 0, body, "the left hand is on the +x side")


def _check_rigid_motion(body: Body) -> None:
    rest = body.default_params()
    moved = rest.translation + torch.tensor([0.3, -0.2, 0.5]).to(rest.translation)
    shift = body(rest.replace(translation=moved)).vertices - body(rest).vertices
    require((shift - moved).abs().max() < 1e-5, body, "translation moves every vertex alike")
    turn = torch.tensor([0.0, math.pi / 2, 0.0]).to(rest.pose)
    pose = rest.pose.clone()
    pose[0] = turn
    mesh, base = body(rest.replace(pose=pose)), body(rest)
    rotation = axis_angle_to_matrix(turn)
    expected = (base.vertices - base.joints[0]) @ rotation.T + base.joints[0]
    error = (mesh.vertices - expected).abs().max()
    require(error < 1e-4, body, f"joint 0 turns all about the pelvis, off by {float(error):.2g} m")
    error = (mesh.skin_rotations - rotation).abs().max()
    require(error < 1e-4, body, "skin_rotations should hold the turn")


def _check_batches(body: Body, device: str) -> None:
    people = sample_people(body, 2, device)
    both = body(people)
    require(both.batch_shape == (2,), body, "meshes are batched like parameters")
    require_finite(both, body)
    require_equal(body(people[1]), both[1], body, "people should not see each other", atol=1e-5)
    bent = people.pose.clone()
    bent[:, 18] += 0.8  # left elbow
    moved = (body(people.replace(pose=bent)).vertices - both.vertices).norm(dim=-1)
    ids = body.vertex_parts
    require(moved[:, ids["left_hand"]].min() > 0.05, body, "the left elbow moves the left hand")
    require(moved[:, ids["right_hand"]].max() < 1e-4, body, "and leaves the right hand alone")


def _check_offsets(body: Body, device: str) -> None:
    people = sample_people(body, 2, device)
    without, count = body(people), body.topology.num_vertices
    zero = body(people.with_offsets(count))
    require_equal(without, zero, body, "offsets of zero change nothing", atol=1e-6)
    offsets = torch.zeros(2, count, 3, device=device)
    offsets[0, count // 2] = torch.tensor([0.01, -0.02, 0.03], device=device)
    mesh = body(people.replace(offsets=offsets))
    error = (mesh.rest_vertices - without.rest_vertices - offsets).abs().max()
    require(error < 1e-5, body, "offsets are added to the rest mesh")
    turned = (without.skin_rotations @ offsets[..., None])[..., 0]
    error = (mesh.vertices - without.vertices - turned).abs().max()
    require(error < 1e-4, body, "offsets are skinned with their vertices")
    error = (mesh.joints - without.joints).abs().max()
    require(error < 1e-6, body, "joints do not follow offsets")


def _check_gradients(body: Body) -> None:
    rest = body.default_params()
    for name in ("betas", "expression", "pose", "translation"):
        leaf = getattr(rest, name).clone().requires_grad_()
        body(rest.replace(**{name: leaf})).vertices.square().mean().backward()
        grad = leaf.grad
        require(
            grad is not None and grad.isfinite().all(), body, f"finite gradient for {name} at 0"
        )
        require(grad.abs().sum() > 0, body, f"the mesh should depend on {name}")
