"""The shipped AnnyX against people that Anny made: what docs/body.md says, in a fresh clone too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from anny_people import read_people

BODY = 20  # the first components are for body type


@pytest.fixture(scope="module")
def people():
    return read_people()


def fitted(annyx, people, name: str, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Fits shape by least squares: betas [N components], distances [N v] that are left, mm."""
    at = people["vertices"]
    template = annyx.v_template[at].double().numpy()
    basis = annyx.shapedirs[:components].double().numpy().reshape(components, -1, 3)[:, at]
    rows = basis.reshape(components, -1).T
    wanted = people[name] - template
    betas = np.linalg.lstsq(rows, wanted.reshape(len(wanted), -1).T, rcond=None)[0].T
    left = wanted - (betas @ rows.T).reshape(wanted.shape)
    return betas, 1e3 * np.linalg.norm(left, axis=-1)


@pytest.mark.parametrize(
    ("name", "components", "bound", "documented"),
    [
        ("all_ages", BODY, 1.0, 0.74),
        ("adults", BODY, 1.0, 0.75),
        ("changed", 50, 2.0, 1.76),
        ("posed_rest", 80, 2.0, 1.23),
    ],
)
def test_shape_components_fit_people_that_were_not_learned_from(
    annyx, people, name, components, bound, documented
):
    _, left = fitted(annyx, people, name, components)
    assert left.mean() < bound
    assert left.mean() == pytest.approx(documented, rel=0.25)  # of eight people
    assert fitted(annyx, people, name, 5)[1].mean() > 2 * bound  # these people do differ


def test_poses_are_annys(annyx, people):
    """The same pose through Anny's own skeleton and skinning, pelvis at the origin."""
    betas, _ = fitted(annyx, people, "posed_rest", annyx.num_betas)
    params = annyx.default_params((len(betas),)).replace(
        betas=torch.as_tensor(betas).float(), pose=torch.as_tensor(people["pose"]).float()
    )
    ours = annyx(params).vertices[:, people["vertices"]].double().numpy()
    distance = 1e3 * np.linalg.norm(ours - people["posed"], axis=-1)
    unposed = 1e3 * np.linalg.norm(people["posed_rest"] - people["posed"], axis=-1)
    assert distance.mean() < 8.0 and unposed.mean() > 100


def _anny_is_ready() -> bool:
    """Anny is installed and has built its cache (which takes minutes the first time)."""
    try:
        import anny
        from anny.paths import get_anny_cache_path
    except ImportError:
        return False
    return bool(anny) and any(Path(get_anny_cache_path()).rglob("build_model_data_*"))


@pytest.mark.slow
@pytest.mark.skipif(not _anny_is_ready(), reason="needs the anny package and its built cache")
def test_shipped_body_against_anny(annyx):
    """Every shape figure of docs/body.md, and its bounds, on fewer people than there."""
    from presence.bodies.building.anny_source import AnnySource
    from presence.bodies.building.figures import joint_figures, pose_figures, shape_figures

    source = AnnySource()
    assert annyx.num_betas == 80
    found = {name: f.mean for name, f in shape_figures(source, annyx, people=20).items()}
    documented = {
        "phenotypes, all ages, 20 components": 0.74,
        "phenotypes, adults, 20 components": 0.75,
        "adults with local changes of +-0.25, 50 components": 1.76,
        "adults with local changes of +-0.3, 50 components": 2.03,  # above 2 mm, as the docs say
        "adults with local changes of +-0.3, 80 components": 1.23,
        "adults with local changes of +-0.5, 80 components": 1.94,
    }
    assert found == pytest.approx(documented, rel=0.1)
    assert max(found[name] for name in list(documented)[:2]) < 1.0
    assert found["adults with local changes of +-0.25, 50 components"] < 2.0
    posed = pose_figures(source, annyx, poses=10)
    assert posed["average person"].mean < posed["random adults"].mean < 8.0
    assert joint_figures(source, annyx, people=20).mean == pytest.approx(1.70, rel=0.2)
