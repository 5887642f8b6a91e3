"""FLAME on an SMPL-X body: an affine fit, a replaced head, and its dense refinement (Eq. 20)."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from presence.bodies import PARENTS, Body
from presence.bodies.flame import NUM_SHAPE, Flame
from presence.bodies.skinning import forward_kinematics, posed_from_rest, skin
from presence.errors import AssetError
from presence.motion.curves import smoothstep
from presence.structures import PartModel
from presence.tracking.refinement.alignment import fit_affine, fit_similarity, transformed
from presence.tracking.refinement.losses import geman_mcclure, project
from presence.tracking.refinement.posing import FrameStates, Variables
from presence.tracking.refinement.rim import rim_distances
from presence.tracking.refinement.stages import FACE_JOINTS

MOVED = (12, 15, *FACE_JOINTS)
"""The joints that turn in FLAME's stage: neck, head, jaw and eyes."""
RIM = 0.03
"""Metres over which FLAME's head fades into the body's at the neck."""
_RIDGE = 1e-6  # m^2: an expression coefficient of 1 counts like one vertex that is 1 mm off
OtherCost = Callable[[Variables], Tensor | float]
"""Terms beside the dense one, of the same variables: [T] or their sum."""


def head_pixels(flame: Flame, head: PartModel) -> Tensor:
    """Returns where a tracked head's vertices are seen, [T V 2] px.

    Args:
        flame: the model.
        head: [T] of a FLAME estimator; joints are [T 4 3 3] (neck, jaw, eyes) or the first of them.
    """
    rotations = torch.eye(3).repeat(*head.batch_shape, 5, 1, 1)
    rotations[:, 1 : 1 + head.joints.shape[1]] = head.joints
    points = flame(head.shape, head.expression, rotations)
    root = flame.joint_regressor[0] @ flame.rest(head.shape, head.expression)
    cam = head.place(points, root)
    return (cam @ head.K.mT)[..., :2] / cam[..., 2:].clamp_min(1e-3)


class FlameHead:
    """A body whose head vertices are FLAME's, brought to the body's canonical head.

    Args:
        body: an SMPL-X body.
        flame: the head model.
        vertex_ids: [V] the body's vertex of each FLAME vertex, the correspondences' file.
    """

    def __init__(self, body: Body, flame: Flame, vertex_ids: Tensor) -> None:
        if len(vertex_ids) != len(flame.v_template) or int(vertex_ids.max()) >= body.num_vertices:
            raise AssetError(
                f"the correspondences ({len(vertex_ids)} vertices up to {int(vertex_ids.max())}) "
                f"do not fit FLAME ({len(flame.v_template)}) and {body.name} ({body.num_vertices})"
            )
        self.body, self.flame, self.ids = body, flame, vertex_ids

    def to(self, device: torch.device | str) -> FlameHead:
        """Returns the same on a device; body and FLAME themselves stay where they are."""
        if self.body.v_template.device == torch.device(device):
            return self
        body, flame = copy.deepcopy(self.body).to(device), copy.deepcopy(self.flame).to(device)
        return FlameHead(body, flame, self.ids.to(device))

    @functools.cached_property
    def between_means(self) -> Tensor:
        """The affine map [3 4] that brings FLAME's mean head to the mean body's."""
        return fit_affine(self.flame.v_template, self.body.v_template[self.ids])

    def canonical(self, shape: Tensor) -> Tensor:
        """Returns FLAME's neutral head of a shape, brought to the mean body, [V 3] m."""
        return transformed(self.between_means, self.flame.rest(shape, shape.new_zeros(0)))

    def own(self, betas: Tensor) -> Tensor:
        """Returns the body's own neutral head in the rest pose, [V 3] m."""
        nothing = betas.new_zeros(self.body.num_expression)
        return self.body.rest_vertices(betas, nothing)[self.ids]

    def affine(self, betas: Tensor, shape: Tensor) -> Tensor:
        """Returns the map [3 4] from FLAME's neutral head to the body's canonical one.

        Affine between the two models' mean heads, and beyond that only a size and a place for
        this person: an affine map of their own would press FLAME's head into the proportions of
        the body's, and leave of its form what is not affine.
        """
        fitted = fit_similarity(self.canonical(shape), self.own(betas))
        means = self.between_means
        return torch.cat(
            [fitted[:, :3] @ means[:, :3], transformed(fitted, means[:, 3])[:, None]], -1
        )

    def rest(self, betas: Tensor, shape: Tensor, expression: Tensor, affine: Tensor) -> Tensor:
        """Returns the body's rest mesh [T V 3] with FLAME's head; expression [T E]."""
        nothing = betas.new_zeros(self.body.num_expression)
        body = self.body.rest_vertices(betas, nothing).expand(len(expression), -1, -1)
        head = self.flame.rest(shape.expand(len(expression), -1), expression)
        return body.index_copy(1, self.ids, transformed(affine, head))

    @functools.cached_property
    def fade(self) -> Tensor:
        """How much of FLAME's head is taken at each of its vertices, [V] in 0..1.

        0 on the rim, where the head's vertices have neighbours that are not the head's, and 1 from
        `RIM` of the mesh's edges away from it; smooth in between, so that the neck does not tear.
        """
        return smoothstep(rim_distances(self.body, self.ids) / RIM).to(self.ids.device)

    def offsets(self, betas: Tensor, shape: Tensor, affine: Tensor) -> Tensor:
        """Returns what turns the body's rest mesh into one with FLAME's neutral head, [V 3] m.

        Args:
            betas: [S] the body's shape.
            shape: FLAME's.
            affine: [3 4] that brings FLAME's head to the body's.
        """
        head = transformed(affine, self.flame.rest(shape, shape.new_zeros(0)))
        moved = self.fade[:, None] * (head - self.own(betas))
        return moved.new_zeros(self.body.num_vertices, 3).index_copy(0, self.ids, moved)

    def body_expression(self, shape: Tensor, expression: Tensor, affine: Tensor) -> Tensor:
        """Returns the body's own expressions [T E] that move its head as FLAME's do.

        The rest of the pipeline poses the body by its own coefficients, and these carry over to
        it what FLAME's expressions do. Least squares over the head's vertices at rest.

        Args:
            shape: FLAME's.
            expression: [T E'] FLAME's.
            affine: [3 4] that brings FLAME's head to the body's.
        """
        neutral = self.flame.rest(shape, expression.new_zeros(0))
        head = self.flame.rest(shape.expand(len(expression), -1), expression)
        moved = (head - neutral) @ affine[:, :3].T  # [T V 3]
        own = self.body.exprdirs.unflatten(-1, (-1, 3))[:, self.ids].flatten(1).double()  # [E V*3]
        gram = own @ own.T + _RIDGE * torch.eye(len(own), dtype=own.dtype, device=own.device)
        right = own @ moved.flatten(1).double().T
        return torch.linalg.solve(gram, right).T.to(expression)

    def head_points(
        self, states: FrameStates, shape: Tensor, expression: Tensor, affine: Tensor
    ) -> Tensor:
        """Returns the replaced head as the body poses it, [T V 3] in the fit's axes."""
        head = self.flame.rest(shape.expand(len(expression), -1), expression)
        rest = transformed(affine, head)
        joints = self.body.rest_joints(states.betas, states.expression)
        world, placed = forward_kinematics(states.rotations, joints, PARENTS)
        transforms = posed_from_rest(world, placed, joints)
        points, _ = skin(rest, transforms, self.body.weights[self.ids])
        return points + states.translation[:, None]


@dataclasses.dataclass(frozen=True)
class FlameTrack:
    """FLAME over T frames, with one shape for all of them.

    Attributes:
        shape: [S].
        expression: [T E].
        pixels: [T V 2] where the tracked head is seen.
        valid: [T] 0 where FLAME tracking failed.
        known: whether the shape is that of the whole video, and stays.
    """

    shape: Tensor
    expression: Tensor
    pixels: Tensor
    valid: Tensor
    known: bool = False

    def to(self, device: torch.device | str) -> FlameTrack:
        """Returns the track on another device."""
        return FlameTrack(
            self.shape.to(device),
            self.expression.to(device),
            self.pixels.to(device),
            self.valid.to(device),
            self.known,
        )

    @classmethod
    def of_heads(
        cls,
        flame: Flame,
        heads: Sequence[PartModel | None],
        scale: float = 1.0,
        shape: Tensor | None = None,
    ) -> FlameTrack:
        """Joins single estimates; frames without one have zero FLAME and weigh nothing.

        Args:
            flame: the model.
            heads: [T] of a FLAME estimator, px of the whole picture.
            scale: of the pixels wanted over those of the picture.
            shape: [S] of the person where it is known; else the mean over frames.
        """
        found = [head for head in heads if head is not None]
        size = NUM_SHAPE, len(flame.shapedirs) - NUM_SHAPE
        known = shape is not None
        if shape is None:
            shape = torch.zeros(size[0])
            for head in found:  # the shape is shared
                shape[: head.shape.shape[-1]] += head.shape / len(found)
        expression = torch.zeros(len(heads), size[1])
        pixels = torch.zeros(len(heads), len(flame.v_template), 2)
        for number, own in enumerate(heads):
            if own is not None:
                expression[number, : own.expression.shape[-1]] = own.expression
                pixels[number] = head_pixels(flame, own.unsqueeze())[0] * scale
        valid = torch.tensor([float(head is not None) for head in heads])
        return cls(shape, expression, pixels, valid, known)


def refine_flame_head(
    head: FlameHead,
    states: FrameStates,
    track: FlameTrack,
    focal: float,
    size: tuple[int, int],
    *,
    steps: int = 80,
    rate: float = 0.006,
    sigma: float = 2.0,
    near: float = 0.15,
    others: OtherCost | None = None,
    held: int = 0,
) -> tuple[FrameStates, FlameTrack]:
    """Eq. 20's dense term: moves the body's head, FLAME's shape and expression onto the pixels.

    Args:
        head: the body with FLAME's head.
        states: of T frames; neck, head, jaw, eyes and translation move.
        track: what FLAME tracking found; frames where it failed keep their start, and a known
            shape stays.
        focal: px.
        size: width and height of the picture, px.
        steps: of Adam.
        rate: rad a step for joints.
        sigma: px, of FLAME's vertices.
        near: rad that a joint usually moves from where it starts.
        others: terms beside the dense one, such as the body's landmarks.
        held: so many frames at the beginning keep their start.
    """
    centre = states.translation.new_tensor([size[0] / 2, size[1] / 2])
    affine = head.affine(states.betas, track.shape)
    variables = Variables(states, MOVED, translation=True)
    grown = torch.zeros_like(track.shape, requires_grad=True)
    mimic = torch.zeros_like(track.expression, requires_grad=True)
    moved = [mimic] if track.known else [grown, mimic]
    groups = [*variables.groups(rate), {"params": moved, "lr": 2 * rate}]
    seen = track.valid.nonzero()[:, 0]  # the others' heads weigh nothing: they are not posed
    target, weight = track.pixels[seen], track.valid[seen]
    adam = torch.optim.Adam(groups, betas=(0.9, 0.98))
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps, eta_min=0.0)
    with torch.enable_grad():
        for _ in range(steps):
            adam.zero_grad(set_to_none=True)
            shape, expression = track.shape + grown, track.expression + mimic
            posed = variables.states()[seen]
            points = head.head_points(posed, shape, expression[seen], affine)
            px, _ = project(points, focal, centre)
            squares = ((px - target) / sigma).square().sum(-1)
            dense = weight * geman_mcclure(squares, 10.0).mean(-1) * 100.0
            cost = (variables.turns / near).square().sum((-1, -2))
            assert variables.shift is not None
            cost = cost + (variables.shift / 0.1).square().sum(-1) + mimic.square().sum(-1)
            total = dense.sum() + cost.sum() + grown.square().sum()
            (total if others is None else total + others(variables)).backward()
            for value in (variables.turns, variables.shift, mimic) if held else ():
                if value.grad is not None:
                    value.grad[:held] = 0.0
            adam.step()
            falling.step()
    with torch.no_grad():
        found = dataclasses.replace(
            track, shape=track.shape + grown, expression=track.expression + mimic
        )
        return variables.states(), found
