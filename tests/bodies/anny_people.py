"""Held-out Anny people, stored so that AnnyX's figures can be checked without the anny package.

`python tests/bodies/anny_people.py` draws and writes them again (it needs `anny`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

FILE = Path(__file__).resolve().parents[1] / "data" / "bodies" / "anny_people.npz"
UNIT = 5e-5  # metres that a stored whole number stands for
PEOPLE = 8  # of each set
EVERY = 9  # vertices: one of so many is stored


def read_people() -> dict[str, np.ndarray]:
    """Returns vertex numbers `vertices` [v], and [N v 3] meters, T-posed unless it says so.

    `all_ages` and `adults` are phenotypes alone, `changed` adults with local changes of +-0.25,
    `posed_rest` such of +-0.3, whom `pose` [N 55 3] brings to `posed`, by Anny's own skeleton.
    """
    with np.load(FILE) as stored:
        arrays = dict(stored)
    return {k: UNIT * v if v.dtype == np.int16 else v for k, v in arrays.items()}


def _write() -> None:
    from presence.bodies.building.anny_source import AnnySource
    from presence.bodies.building.annyx import t_posed
    from presence.bodies.building.figures import anny_posed, random_poses

    source, rng = AnnySource(), np.random.default_rng(11)
    everyone = source.random_phenotypes(rng, PEOPLE, adults=False)
    adults = source.random_phenotypes(rng, PEOPLE, adults=True)
    mild = source.random_local_changes(rng, PEOPLE, strength=0.25)
    others = source.random_phenotypes(rng, PEOPLE, adults=True)
    people = source.people(others, source.random_local_changes(rng, PEOPLE))
    pose = random_poses(rng, PEOPLE).round(4)
    meshes = dict(
        all_ages=t_posed(source, source.people(everyone))[0],
        adults=t_posed(source, source.people(adults))[0],
        changed=t_posed(source, source.people(adults, mild))[0],
        posed_rest=t_posed(source, people)[0],
        posed=anny_posed(source, people, pose),
    )
    chosen = np.arange(0, meshes["posed"].shape[1], EVERY)
    stored = {k: np.rint(v[:, chosen] / UNIT).astype(np.int16) for k, v in meshes.items()}
    FILE.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(FILE, vertices=chosen, pose=pose, **stored)
    print(f"wrote {FILE} ({FILE.stat().st_size / 1e3:.0f} kB)")


if __name__ == "__main__":
    _write()
