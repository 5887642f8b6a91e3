"""Identity similarity: the cosine between ArcFace's embeddings of rendering and true picture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from presence.estimation.faces import arcface_from_px, to_68
from presence.estimation.networks.iresnet import SIDE
from presence.estimation.windows import warped
from presence.evaluation.arcface_net import get_arcface
from presence.evaluation.compare import Comparison
from presence.evaluation.metrics import Metric
from presence.evaluation.view_landmarks import ViewLandmarks, no_landmarks
from presence.interfaces import Body
from presence.registry import METRICS

_FACING = 0.5  # cosine: faces turned further than 60 degrees away are not compared


@METRICS.register()
class IdentitySimilarity(Metric):
    """Cosine of ArcFace's embeddings (Deng et al., 2019) of the same view, rendered and true.

    Both faces are cut out by one similarity transform, which takes the five points of the body
    model's face (eyes, nose tip, corners of the mouth) nearest to ArcFace's on 112 x 112 pixels:
    no other detector is needed, and a misplaced face costs. Views whose face is turned by more
    than 60 degrees from the camera, or not whole in the picture, are left out.

    The network is the user's file (`arcface` in configs/assets.yaml). Its name is part of the
    metric's label: numbers of different networks cannot be compared.

    Args:
        weights: "official", an entry of configs/assets.yaml, or a path.
        subjects: measure so many samples from the first on; None for all.
    """

    name = "identity"

    def __init__(self, weights: str = "official", *, subjects: int | None = None) -> None:
        self.weights, self.subjects = weights, subjects

    @property
    def label(self) -> str:  # type: ignore[override]
        """Heading with the network's name, once it is there."""
        network, about = get_arcface(self.weights)
        return "identity" if network is None else f"identity ({about})"

    def missing(self) -> str | None:
        """Returns why there is no network, None if there is one."""
        network, reason = get_arcface(self.weights)
        return reason if network is None else None

    def unsuited(self, body: Body | None) -> str | None:
        """Returns why the body has no face to align by, None if it has."""
        return no_landmarks(body)

    def __call__(self, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Cannot measure two pictures without a body.

        Raises:
            TypeError: always.
        """
        raise TypeError("IdentitySimilarity needs a Comparison with a view and a body")

    @torch.no_grad()
    def measure(self, comparison: Comparison) -> Tensor:
        """Measures two views [B], -1..1; NaN where the true view shows no face."""
        network, reason = get_arcface(self.weights, comparison.prediction.device)
        if network is None:
            raise RuntimeError(reason)
        marks = comparison.landmarks("face")
        similarity = torch.full_like(marks.facing, torch.nan)
        for i in faces_seen(marks).nonzero()[:, 0].tolist():
            both = torch.stack([comparison.prediction[i], comparison.target[i]]).float()
            faces = aligned_faces(both, marks.px[i])
            with torch.autocast(faces.device.type, enabled=False):
                rendered, true = network(2 * faces - 1)
            similarity[i] = F.cosine_similarity(rendered, true, dim=0)
        return similarity


def faces_seen(marks: ViewLandmarks) -> Tensor:
    """Says which views show the face well enough to compare it [B]; the set is "face"."""
    return (marks.facing >= _FACING) & marks.inside.all(-1)


def aligned_faces(pictures: Tensor, landmarks: Tensor) -> Tensor:
    """Cuts ArcFace's crop out of pictures of one view.

    Args:
        pictures: [N 3 H W] in 0..1.
        landmarks: [478 2] px, MediaPipe's of the face.

    Returns:
        [N 3 112 112] in 0..1, black outside the picture.
    """
    crop_from_px = arcface_from_px(to_68(landmarks))
    return torch.stack([warped(picture, crop_from_px, SIDE, SIDE) for picture in pictures])
