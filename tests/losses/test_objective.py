"""Every term of the objective against a written-out numpy version."""

import numpy as np
import pytest
import torch

from presence.losses import (
    HandConsistencyLoss,
    IsotropyLoss,
    OffsetHingeLoss,
    OffsetLoss,
    OpacityLoss,
    ReconstructionLoss,
    ScaleLoss,
    SmoothnessLoss,
)
from presence.projection import build_surface
from presence.structures import Avatar, Camera, Gaussians, Portrait, Rendering
from presence.testing.toy_bodies import SphereBody

BODY = SphereBody()
SURFACE = build_surface(BODY, 64)


@pytest.fixture
def avatar():
    torch.manual_seed(0)
    n = len(SURFACE)
    gaussians = Gaussians(
        0.05 * torch.randn(2, n, 3),
        torch.randn(2, n, 4),
        0.02 * torch.rand(2, n, 3) + 1e-4,
        torch.rand(2, n),
        torch.rand(2, n, 3),
    )
    params = BODY.default_params((2,))
    camera = Camera.look_at(torch.tensor([[0.0, 0, 3]] * 2), torch.zeros(2, 3), 0.5, 8, 8)
    return Avatar(gaussians, params, camera, SURFACE.binding)


def test_offset_hinge(avatar):
    distance = np.linalg.norm(avatar.canonical.means.numpy().astype(np.float64), axis=-1)
    expected = 10.0 * np.maximum(distance - 0.0525, 0).mean()
    assert OffsetHingeLoss()(avatar).item() == pytest.approx(expected, rel=1e-5)
    resting = avatar.canonical.means.detach().clone().zero_().requires_grad_()
    OffsetHingeLoss()(avatar.replace(canonical=avatar.canonical.replace(means=resting))).backward()
    assert torch.equal(resting.grad, torch.zeros_like(resting))


def test_offset(avatar):
    means = avatar.canonical.means.numpy().astype(np.float64)
    assert OffsetLoss(weight=3.0)(avatar).item() == pytest.approx(
        3.0 * (means**2).sum(-1).mean(), rel=1e-5
    )


def test_smoothness_compares_neighbours_of_one_chart(avatar):
    means = avatar.canonical.means.numpy().astype(np.float64)
    place = {int(texel): i for i, texel in enumerate(SURFACE.texels)}
    chart = chart_by_flooding()
    differences = []
    for texel, i in place.items():
        right = texel + 1 if (texel + 1) % 64 else -1
        for j in (place.get(right), place.get(texel + 64)):
            if j is not None and chart[i] == chart[j]:
                differences.append(np.abs(means[:, i] - means[:, j]).sum(-1))
    got = SmoothnessLoss(SURFACE, weight=2.0)(avatar).item()
    assert got == pytest.approx(2.0 * 64 * np.mean(differences), rel=1e-5)
    level = avatar.canonical.replace(means=torch.full_like(avatar.canonical.means, 0.02))
    assert SmoothnessLoss(SURFACE)(avatar.replace(canonical=level)).item() == 0


def chart_by_flooding() -> list[int]:
    """The charts of the texels' triangles, by spreading labels over shared texture vertices."""
    faces = BODY.topology.faces_uv.tolist()
    labels = list(range(len(faces)))
    changed = True
    while changed:
        least: dict[int, int] = {}
        for label, corners in zip(labels, faces, strict=True):
            for corner in corners:
                least[corner] = min(least.get(corner, label), label)
        spread = [min(least[corner] for corner in corners) for corners in faces]
        changed, labels = spread != labels, spread
    return [labels[face] for face in SURFACE.face_ids.tolist()]


def test_scale_hinge(avatar):
    scales = avatar.canonical.scales.numpy().astype(np.float64)
    expected = np.maximum(scales.max(-1) - 0.012, 0).mean()
    assert ScaleLoss(limit=0.012)(avatar).item() == pytest.approx(expected, rel=1e-4)


def test_isotropy_hinge(avatar):
    scales = avatar.canonical.scales.numpy().astype(np.float64)
    expected = np.maximum(scales.max(-1) / scales.min(-1) - 5, 0).mean()
    assert IsotropyLoss()(avatar).item() == pytest.approx(expected, rel=1e-4)


def patches_of(values: np.ndarray) -> dict[int, np.ndarray]:
    rows, columns = SURFACE.texels.numpy() // 64, SURFACE.texels.numpy() % 64
    cells = (rows // 4) * 16 + columns // 4
    return {cell: values[:, cells == cell] for cell in np.unique(cells)}


def test_opacity_patches(avatar):
    patches = patches_of(avatar.canonical.opacities.numpy().astype(np.float64))
    expected = np.mean([(p.mean(1) - 0.8) ** 2 for p in patches.values()])
    got = OpacityLoss(SURFACE, patches=16)(avatar).item()
    assert got == pytest.approx(expected, rel=1e-4)


def test_hand_patches_follow_the_nearest_face_patch(avatar):
    loss = HandConsistencyLoss(BODY, SURFACE, patches=16)
    patches = patches_of(avatar.canonical.colors.numpy().astype(np.float64))
    statistics = {k: np.concatenate([p.mean(1), p.std(1)], -1) for k, p in patches.items()}
    hands = [statistics[c] for c in loss.hand_cells.tolist()]
    faces = np.stack([statistics[c] for c in loss.face_cells.tolist()], 1)
    assert len(hands) > 3 and faces.shape[1] > 3
    distances = [((hand[:, None] - faces) ** 2).sum(-1).min(-1) for hand in hands]
    assert loss(avatar).item() == pytest.approx(np.mean(distances), rel=1e-3)


def test_hand_gradient_leaves_the_face_alone(avatar):
    colours = avatar.canonical.colors.clone().requires_grad_()
    loss = HandConsistencyLoss(BODY, SURFACE, patches=16)
    loss(avatar.replace(canonical=avatar.canonical.replace(colors=colours))).backward()
    cells = SURFACE.cells(16)
    on_face = torch.isin(cells, loss.face_cells)
    on_hand = torch.isin(cells, loss.hand_cells)
    assert colours.grad[:, on_face & ~on_hand].abs().max() == 0
    assert colours.grad[:, on_hand].abs().max() > 0


def test_reconstruction_terms():
    torch.manual_seed(1)
    rgb, alpha = torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8)
    rendering = Rendering(torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8), torch.zeros(2, 1, 8, 8))
    background = torch.rand(2, 3)
    terms = ReconstructionLoss(l1=2.0, l2=3.0, lpips=0.0, mask=0.5)(
        rendering, Portrait(rgb, alpha), background
    )
    a = alpha.numpy()
    target = rgb.numpy() * a + background.numpy()[:, :, None, None] * (1 - a)
    l1 = 2.0 * np.abs(rendering.rgb.numpy() - target).mean()
    l2 = 3.0 * ((rendering.rgb.numpy() - target) ** 2).mean()
    mask = 0.5 * np.abs(rendering.alpha.numpy() - a).mean()
    assert terms["l1"].item() == pytest.approx(l1, rel=1e-5)
    assert terms["mask"].item() == pytest.approx(mask, rel=1e-5)
    assert terms["l2"].item() == pytest.approx(l2, rel=1e-5)
    assert set(terms) == {"l1", "l2", "mask"}
