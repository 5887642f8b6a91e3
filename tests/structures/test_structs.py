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


@dataclasses.dataclass(frozen=True, eq=False)
class Cloud(TensorStruct):
    xyz: torch.Tensor = tensor("N 3")
    shifts: torch.Tensor | None = tensor("N 3", unit="m", optional=True)


def test_optional_tensors_may_be_absent():
    bare = Cloud(torch.randn(2, 5, 3))
    assert bare.shifts is None and list(bare.tensors()) == ["xyz"]
    for other in (bare[0], bare.unsqueeze(), bare.map(torch.abs), bare.to(torch.float64)):
        assert other.shifts is None
    assert cat([bare, bare]).shifts is None and stack([bare, bare]).shifts is None
    full = bare.replace(shifts=torch.randn(2, 5, 3))
    assert torch.equal(full[1].shifts, full.shifts[1])
    assert full.unsqueeze().shifts.shape == (1, 2, 5, 3)
    assert full.to(torch.float64).shifts.dtype == torch.float64
    assert torch.equal(full.map(torch.neg).shifts, -full.shifts)
    assert full.replace(shifts=None).shifts is None


def test_optional_tensors_are_checked_where_they_are_there():
    with pytest.raises(ValueError, match="Cloud.shifts should end in .N 3. with {'N': 5}"):
        Cloud(torch.zeros(5, 3), torch.zeros(4, 3))
    with pytest.raises(ValueError, match="Cloud.shifts has batch axes"):
        Cloud(torch.zeros(2, 5, 3), torch.zeros(5, 3))
    with pytest.raises(ValueError, match="Cloud.xyz should be a tensor, got NoneType"):
        Cloud(None)


def test_joining_takes_absent_tensors_for_zeros():
    bare, full = Cloud(torch.zeros(5, 3)), Cloud(torch.zeros(5, 3), torch.ones(5, 3))
    for structs, sums in (([bare, full], [0, 15]), ([full, bare, bare], [15, 0, 0])):
        assert stack(structs).shifts.sum((1, 2)).tolist() == sums
    many = stack([bare] * 3)
    joined = cat([many, full.unsqueeze()])
    assert joined.shifts.sum((1, 2)).tolist() == [0, 0, 0, 15]


def people(offsets=None) -> BodyParams:
    return BodyParams(
        torch.rand(2, 3), torch.rand(2, 4), torch.rand(2, 55, 3), torch.rand(2, 3), offsets
    )


def test_a_person_is_betas_and_offsets():
    bare, full = people(), people(torch.rand(2, 7, 3))
    assert bare.at_rest().offsets is None
    rest = full.at_rest()
    assert torch.equal(rest.betas, full.betas) and torch.equal(rest.offsets, full.offsets)
    assert not (rest.pose.any() or rest.expression.any() or rest.translation.any())
    one = bare.shaped_as(full[1])
    assert torch.equal(one.offsets, full.offsets[1:].expand(2, -1, -1))
    assert torch.equal(one.betas, full.betas[1:].expand(2, -1))
    assert torch.equal(one.pose, bare.pose)
    assert full.shaped_as(bare).offsets is None
    assert torch.equal(bare.with_offsets(7).offsets, torch.zeros(2, 7, 3))
    assert full.with_offsets(7) is full


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
