"""Blending several portraits in UV, against the formula written out cell by cell."""

import numpy as np
import torch

from presence.projection import blend_uv
from presence.structures import UVFeatures


def random_views(count=3, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.rand(count, *shape, generator=generator)

    def seen(size):
        return draw(1, size, size) * (draw(1, size, size) > 0.5)

    core, shell, texels = seen(4), seen(2), seen(8)
    return UVFeatures(
        draw(5, 4, 4) * (core > 0), core, draw(5, 2, 2) * (shell > 0), shell,
        draw(3, 8, 8) * (texels > 0), texels,
    )  # fmt: skip


def test_every_cell_is_the_weighted_mean_of_the_views_that_see_it():
    views, trust = random_views(), [1.0, 0.5, 2.0]
    out = blend_uv(views, trust, sharpness=1.0)
    alone = 0
    for name in ("core", "shell", "texels"):
        values, seen = getattr(views, name).numpy(), getattr(views, f"{name}_seen").numpy()
        for row, column in np.ndindex(*values.shape[-2:]):
            w = np.array(trust) * seen[:, 0, row, column]
            got = getattr(out, name)[:, row, column].numpy()
            expected = (w @ values[:, :, row, column]) / w.sum() if w.sum() > 0 else 0 * got
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
            best = seen[:, 0, row, column].max()
            assert getattr(out, f"{name}_seen")[0, row, column] == best
            alone += (w > 0).sum() == 1
    assert alone > 10  # cells that one view alone decides


def test_one_portrait_blended_is_itself():
    views = random_views(1)
    out = blend_uv(views)
    for name in ("core", "shell", "texels"):
        torch.testing.assert_close(getattr(out, name), getattr(views, name)[0])


def test_the_order_of_the_views_does_not_matter_and_sharpness_takes_the_best():
    views = random_views(2)
    backwards = views.map(lambda value: value.flip(0))
    torch.testing.assert_close(blend_uv(views, [1, 3]).core, blend_uv(backwards, [3, 1]).core)
    sharp = blend_uv(views, sharpness=200.0).texels
    best = views.texels_seen.argmax(0, keepdim=True).expand(1, 3, -1, -1)
    clear = (views.texels_seen.amax(0) > 1.2 * views.texels_seen.amin(0)).expand(3, -1, -1)
    torch.testing.assert_close(sharp[clear], views.texels.gather(0, best)[0][clear])


def test_a_portrait_without_trust_leaves_no_trace():
    views = random_views(2)
    out, alone = blend_uv(views, [1, 0]), blend_uv(views[:1])
    torch.testing.assert_close(out.core, alone.core)
    assert torch.equal(out.texels_seen, alone.texels_seen)
