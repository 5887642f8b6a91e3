"""`Body`: a body model in the SMPL-X layout, from parameters to a posed proxy mesh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from presence import interfaces
from presence.bodies import atlas, skinning
from presence.bodies.data import BodyData
from presence.bodies.joints import JOINT_NAMES, NUM_JOINTS, PARENTS
from presence.geometry import axis_angle_to_matrix
from presence.structures import BodyParams, MeshTopology, ProxyMesh


class Body(interfaces.Body):
    """Linear blend skinned body with shape and expression blend shapes, always in float32.

    The arithmetic is SMPL-X's: joints are regressed from the shaped and expressed rest mesh,
    pose-corrective blend shapes are added where the file has any, and the mesh is skinned.
    Nothing here depends on which person or which body file was loaded.

    Args:
        data: arrays of a body file, see `presence.bodies.load_body`.

    Attributes:
        name: short name of the file ("annyx", "SMPLX_NEUTRAL", ...).
        num_betas: S, shape coefficients.
        num_expression: E, expression coefficients.
        expression_names: a name for each expression coefficient.
        joint_names: the 55 joints in SMPL-X order.
        parents: parent index of each joint, -1 for the pelvis.
        topology: faces and texture coordinates; follows the module's device.
        vertex_parts: name of a part to its vertex indices [n]; parts may overlap.
        mirror_vertices: [V] index of each vertex's mirror image, or None if unknown.
        face_charts: [F] index of the UV chart of each face, or None if unknown.
        chart_names: name of each UV chart; empty if the file has no chart table.

    Example:
        >>> from presence.bodies import load_body
        >>> body = load_body("annyx")
        >>> mesh = body(body.default_params())
        >>> tuple(mesh.joints.shape)
        (55, 3)
    """

    v_template: Tensor
    shapedirs: Tensor
    exprdirs: Tensor
    posedirs: Tensor | None
    weights: Tensor
    joint_regressor: Tensor
    joint_template: Tensor
    joint_shapedirs: Tensor
    joint_exprdirs: Tensor
    mirror_vertices: Tensor | None
    face_charts: Tensor | None
    chart_cells: Tensor | None
    chart_mirrors: Tensor | None
    _faces: Tensor
    _faces_uv: Tensor
    _uv: Tensor

    def __init__(self, data: BodyData) -> None:
        super().__init__()
        self.name = data.name
        self.num_betas = data.shapedirs.shape[-1]
        self.num_expression = data.exprdirs.shape[-1]
        self.expression_names = list(data.expression_names)
        self.joint_names = list(JOINT_NAMES)
        self.parents = list(PARENTS)
        self._buffer("v_template", data.v_template, torch.float32)
        self._buffer("shapedirs", _rows(data.shapedirs), torch.float32)  # [S V*3]
        self._buffer("exprdirs", _rows(data.exprdirs), torch.float32)  # [E V*3]
        self._buffer("posedirs", data.posedirs, torch.float32)  # [486 V*3] or None
        self._buffer("weights", data.weights, torch.float32)  # [V 55]
        self._buffer("joint_regressor", data.joint_regressor, torch.float32)  # [55 V]
        # Joints are linear in shape: with these, a pose needs no product over all vertices.
        self._buffer("joint_template", data.joint_regressor @ data.v_template, torch.float32)
        self._buffer("joint_shapedirs", _regressed(data, data.shapedirs), torch.float32)
        self._buffer("joint_exprdirs", _regressed(data, data.exprdirs), torch.float32)
        self._buffer("_faces", data.faces, torch.int64)
        self._buffer("_faces_uv", data.faces_uv, torch.int64)
        self._buffer("_uv", data.uv, torch.float32)
        self._buffer("mirror_vertices", data.mirror_vertices, torch.int64)
        self._buffer("face_charts", data.face_charts, torch.int64)
        self.chart_names = list(data.chart_names)
        self._buffer("chart_cells", data.chart_cells, torch.int64)
        self._buffer("chart_mirrors", data.chart_mirrors, torch.int64)
        self._part_names = sorted(data.parts)
        for name in self._part_names:
            self._buffer(f"_part_{name}", data.parts[name], torch.int64)

    def _buffer(self, name: str, value: object, dtype: torch.dtype) -> None:
        tensor = None if value is None else torch.as_tensor(value).to(dtype)
        self.register_buffer(name, tensor, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Moves buffers, but keeps geometry in float32 when the module is cast."""
        return super()._apply(lambda t: _keep_float32(t, fn(t)), recurse)

    @property
    def num_vertices(self) -> int:
        """V, the number of mesh vertices."""
        return self.v_template.shape[0]

    @property
    def topology(self) -> MeshTopology:  # type: ignore[override]
        """Faces and texture coordinates on the module's device."""
        return MeshTopology(
            faces=self._faces,
            faces_uv=self._faces_uv,
            uv=self._uv,
            num_vertices=self.num_vertices,
        )

    @property
    def vertex_parts(self) -> dict[str, Tensor]:  # type: ignore[override]
        """Vertex indices [n] of each named part, on the module's device."""
        return {name: getattr(self, f"_part_{name}") for name in self._part_names}

    def mirror_texels(self, size: int) -> Tensor:
        """Returns, for every texel, the row and column of its mirror image: [size size 2].

        The atlas is made of rectangles whose left and right (or two halves) are mirror images,
        so that `uv_map[m[..., 0], m[..., 1]]` is the map of the mirrored person.

        Args:
            size: texels a side, a multiple of 64.

        Raises:
            ValueError: the body has no chart table, or `size` does not fit its grid.
        """
        return atlas.mirror_texels(self.chart_cells, self.chart_mirrors, size)

    def default_params(self, batch_shape: tuple[int, ...] = ()) -> BodyParams:
        """Returns the average person in the T-pose at the origin.

        Args:
            batch_shape: leading axes of every field.
        """

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*batch_shape, *shape, device=self.v_template.device)

        return BodyParams(
            betas=zeros(self.num_betas),
            expression=zeros(self.num_expression),
            pose=zeros(NUM_JOINTS, 3),
            translation=zeros(3),
        )

    def forward(self, params: BodyParams) -> ProxyMesh:
        """Shapes, poses and places the body.

        Args:
            params: any batch axes, or none. Fewer betas or expression coefficients than the
                body has stand for zeros in the rest. Offsets move vertices, and not the joints,
                which are those of the shape space's body.

        Raises:
            ValueError: more coefficients than the body has, or offsets of another body.
        """
        with torch.autocast(str(self.v_template.device.type), enabled=False):
            betas = _pad(params.betas, self.num_betas, "betas", self.name)
            expression = _pad(params.expression, self.num_expression, "expression", self.name)
            rest = self.rest_vertices(betas, expression, params.offsets)
            rest_joints = self.rest_joints(betas, expression)
            rotations = axis_angle_to_matrix(params.pose.float())
            world, positions = skinning.forward_kinematics(rotations, rest_joints, self.parents)
            transforms = skinning.posed_from_rest(world, positions, rest_joints)
            corrected = rest if self.posedirs is None else rest + self._pose_offsets(rotations)
            vertices, linear = skinning.skin(corrected, transforms, self.weights)
            shift = params.translation.float()[..., None, :]
            return ProxyMesh(
                vertices=vertices + shift,
                rest_vertices=rest,
                skin_rotations=linear,
                joints=positions + shift,
            )

    def rest_vertices(
        self, betas: Tensor, expression: Tensor, offsets: Tensor | None = None
    ) -> Tensor:
        """Returns the rest mesh [... V 3], metres.

        Args:
            betas: [... S].
            expression: [... E].
            offsets: [... V 3] of the person's vertices beyond the shape space.
        """
        shape = skinning.blend_shapes(betas.float(), self.shapedirs)
        rest = self.v_template + shape + skinning.blend_shapes(expression.float(), self.exprdirs)
        if offsets is None:
            return rest
        if offsets.shape[-2] != self.num_vertices:
            raise ValueError(
                f"{self.name} has {self.num_vertices} vertices, got {offsets.shape[-2]} offsets"
            )
        return rest + offsets.float()

    def rest_joints(self, betas: Tensor, expression: Tensor) -> Tensor:
        """Returns the rest joints [... 55 3], the regressor applied to the rest mesh."""
        offsets = skinning.blend_shapes(betas.float(), self.joint_shapedirs)
        expressed = skinning.blend_shapes(expression.float(), self.joint_exprdirs)
        return self.joint_template + offsets + expressed

    def _pose_offsets(self, rotations: Tensor) -> Tensor:
        identity = torch.eye(3, device=rotations.device)
        assert self.posedirs is not None
        features = (rotations[..., 1:, :, :] - identity).flatten(-3)  # [... 486]
        return skinning.blend_shapes(features, self.posedirs)

    def extra_repr(self) -> str:
        """Describes the loaded file in `print(body)`."""
        return (
            f"{self.name}: {self.num_vertices} vertices, {len(self._faces)} faces, "
            f"{self.num_betas} betas, {self.num_expression} expressions"
        )


def _rows(directions: np.ndarray | Tensor) -> Tensor:
    """[V 3 C] to contiguous float32 [C V*3]."""
    flat = torch.as_tensor(directions).float().flatten(0, 1)  # [V*3 C]
    return flat.T.contiguous()


def _regressed(data: BodyData, directions: np.ndarray) -> Tensor:
    """[55*3] joint offsets a coefficient: [C 55*3]."""
    regressor = torch.as_tensor(data.joint_regressor).double()
    moved = torch.einsum("jv,vkc->jkc", regressor, torch.as_tensor(directions).double())
    return _rows(moved)


def _pad(coefficients: Tensor, size: int, what: str, name: str) -> Tensor:
    given = coefficients.shape[-1]
    if given > size:
        raise ValueError(f"{name} has {size} {what}, got {given}")
    return nn.functional.pad(coefficients.float(), (0, size - given))


def _keep_float32(before: Tensor, after: Tensor) -> Tensor:
    return after if after.dtype == before.dtype else before.to(after.device)
