import dataclasses

import pytest
import torch

from presence.structures import (
    Avatar,
    BodyParams,
    Camera,
    Gaussians,
    SurfaceBinding,
    TensorStruct,
    cat,
    stack,
    static,
    tensor,
)


def gaussians(*lead: int, n: int = 5) -> Gaussians:
    return Gaussians(
        torch.randn(*lead, n, 3),
        torch.randn(*lead, n, 4),
        torch.rand(*lead, n, 3),
        torch.rand(*lead, n),
        torch.rand(*lead, n, 3),
    )


def test_wrong_trailing_shape_is_named():
    good = gaussians(2)
    with pytest.raises(ValueError) as error:
        good.replace(opacities=torch.zeros(2, 5, 1))
    expected = "Gaussians.opacities should end in [N] with {'N': 5}, but has shape (2, 5, 1)"
    assert str(error.value) == expected


def test_batch_axes_must_agree():
    with pytest.raises(ValueError, match="batch axes"):
        gaussians(2).replace(colors=torch.zeros(3, 5, 3))


def test_not_a_tensor():
    with pytest.raises(ValueError, match="should be a tensor, got list"):
        gaussians().replace(colors=[1.0])


def test_instances_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        gaussians().means = torch.zeros(5, 3)


def test_stack_index_cat_and_map():
    one, two = gaussians(), gaussians()
    both = stack([one, two])
    assert both.batch_shape == (2,)
    assert torch.equal(both[1].means, two.means)
    assert cat([both, both]).batch_shape == (4,)
    assert torch.equal(both.map(lambda v: v * 2).scales, both.scales * 2)
    with pytest.raises(IndexError):
        one[0]


def test_nested_and_static_fields():
    camera = stack([Camera(torch.eye(3), torch.eye(4), 4, 4)] * 2)
    params = BodyParams(
        torch.zeros(2, 3), torch.zeros(2, 4), torch.zeros(2, 55, 3), torch.zeros(2, 3)
    )
    binding = SurfaceBinding(
        torch.zeros(5, 3, dtype=torch.long), torch.ones(5, 3), torch.zeros(5, 2)
    )
    avatar = Avatar(gaussians(2), params, camera, binding)
    assert avatar.batch_shape == (2,)
    assert avatar[0].binding is binding
    halves = avatar.to(torch.float64)
    assert halves.binding.barycentrics.dtype == torch.float64
    assert halves.binding.vertex_ids.dtype == torch.long
    with pytest.raises(ValueError, match="batch axes"):
        avatar.replace(canonical=gaussians(3))


def test_equal_names_bind_within_one_struct_only():
    @dataclasses.dataclass(frozen=True, eq=False)
    class Pair(TensorStruct):
        left: torch.Tensor = tensor("N 2")
        right: torch.Tensor = tensor("N 3")
        label: str = static(default="x")

    assert Pair(torch.zeros(4, 2), torch.zeros(4, 3)).batch_shape == ()
    with pytest.raises(ValueError, match="Pair.right"):
        Pair(torch.zeros(4, 2), torch.zeros(5, 3))
