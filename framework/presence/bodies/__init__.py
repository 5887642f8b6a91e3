"""Body models in the SMPL-X layout: the embedded AnnyX, or the user's own SMPL-X file."""

from presence.bodies.body import Body
from presence.bodies.joints import JOINT_NAMES, PARENTS
from presence.bodies.loading import load_body
from presence.structures import MeshTopology

__all__ = ["JOINT_NAMES", "PARENTS", "Body", "MeshTopology", "load_body"]
