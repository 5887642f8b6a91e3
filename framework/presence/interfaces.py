"""One small abstract class for each kind of component that a config can swap."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor, nn

from presence.structures import (
    Avatar,
    BodyParams,
    Camera,
    Cues,
    Estimate,
    Fragments,
    Gaussians,
    ImageFeatures,
    MeshTopology,
    Portrait,
    ProxyMesh,
    Rendering,
    Tracking,
    TrainSample,
    UVFeatures,
)


class Body(nn.Module, ABC):
    """A body model: parameters to a posed mesh whose topology never changes.

    Attributes:
        name: short name, written into avatar files.
        topology: faces and texture coordinates.
        num_betas: shape coefficients it takes.
        num_expression: expression coefficients it takes.
        vertex_parts: part name to vertex indices.
    """

    name: str
    topology: MeshTopology
    num_betas: int
    num_expression: int
    vertex_parts: dict[str, Tensor]

    @abstractmethod
    def forward(self, params: BodyParams) -> ProxyMesh:
        """Poses the body; batched like `params`.

        Offsets, where `params` has them, are added to the rest mesh and leave the joints alone.
        """

    @abstractmethod
    def default_params(self, batch_shape: tuple[int, ...] = ()) -> BodyParams:
        """Returns the mean person in the rest pose at the origin."""


class Encoder(nn.Module, ABC):
    """Portrait to image features.

    Attributes:
        out_channels: C of the returned grid.
    """

    out_channels: int

    @abstractmethod
    def forward(self, portrait: Portrait) -> ImageFeatures:
        """Encodes batched portraits [B 3 H W] to features [B C h w]."""


class Projector(nn.Module, ABC):
    """Closed-form transfer of image features to the body's UV space."""

    @abstractmethod
    def forward(
        self, features: ImageFeatures, portrait: Portrait, mesh: ProxyMesh, camera: Camera
    ) -> UVFeatures:
        """Rearranges batched features; nothing is learned here."""


class Decoder(nn.Module, ABC):
    """Features to canonical Gaussians.

    Attributes:
        needs: the features that `AvatarModel` must hand over: `"uv"` for features already in UV
            space, `"image"` for features in the image plane.
        also: what else `forward` takes, each as a keyword argument of that name: `"portrait"`,
            the batched `Portrait` that was encoded; `"posed"`, the body's `ProxyMesh` in it.
    """

    needs: ClassVar[Literal["uv", "image"]] = "uv"
    also: ClassVar[tuple[Literal["portrait", "posed"], ...]] = ()

    @abstractmethod
    def forward(
        self,
        features: UVFeatures | ImageFeatures,
        canonical: ProxyMesh,
        body: BodyParams,
        camera: Camera,
        **also: Portrait | ProxyMesh,
    ) -> Avatar:
        """Decodes a batch.

        Args:
            features: as `needs` says.
            canonical: the person's shape without expression, in the rest pose.
            body: the person's parameters in the portrait.
            camera: the portrait's camera.
            **also: what the class attribute `also` names, and nothing else; a decoder declares
                them as keyword-only parameters.
        """

    def settle(
        self,
        features: UVFeatures,
        avatar: Avatar,
        portraits: Portrait,
        posed: ProxyMesh,
        camera: Camera,
    ) -> UVFeatures:
        """Reads each portrait's colours once more, where an avatar's Gaussians are in it.

        A surface point's colour and that of the cloth before it differ, and more so between
        portraits from several sides: what is to be blended must be settled first. Returned as they
        are unless a decoder overrides this.

        Args:
            features: [K] of portraits of one person.
            avatar: [1] of that person.
            portraits: [K 3 H W].
            posed: the body in each of them, [K].
            camera: [K].
        """
        return features

    def finish(
        self,
        rendering: Rendering,
        posed: Gaussians,
        camera: Camera,
        background: Tensor | None,
        renderer: GaussianRenderer,
    ) -> Rendering:
        """Finishes a rendering in screen space; returned as it is unless a decoder overrides this.

        Avatar files do not hold the decoder: what is animated from them is the raw rendering.

        Args:
            rendering: of `posed`, over `background`.
            posed: `FeatureGaussians` where the decoder made such.
            camera: of the rendering.
            background: [3] or [B 3] colour, black if None.
            renderer: draws further channels; see `presence.rendering.features`.
        """
        return rendering


class MeshRasterizer(ABC):
    """Triangles to the nearest face behind each pixel centre."""

    @abstractmethod
    def __call__(
        self,
        screen: Tensor,
        faces: Tensor,
        height: int,
        width: int,
        *,
        cull_backfaces: bool = True,
        orthographic: bool = False,
    ) -> Fragments:
        """Rasterizes a batch of meshes with common faces.

        Args:
            screen: [B V 3] pixel x, pixel y, camera z (m).
            faces: [F 3] int64, counter-clockwise seen from outside.
            height: rows of the result.
            width: columns of the result.
            cull_backfaces: drop triangles seen from behind.
            orthographic: interpolate linearly on the screen instead of perspectively.
        """


class GaussianRenderer(ABC):
    """Gaussians to pixels."""

    @abstractmethod
    def __call__(
        self, gaussians: Gaussians, camera: Camera, background: Tensor | None = None
    ) -> Rendering:
        """Renders one scene or a batch, differentiably in the Gaussians.

        Args:
            gaussians: [... N ...].
            camera: batched like the Gaussians.
            background: [3] or [... 3] colour behind the Gaussians, black if None.
        """


class Tracker(ABC):
    """Portrait to body parameters, camera and what was visible."""

    @abstractmethod
    def __call__(self, portrait: Portrait) -> Tracking:
        """Tracks one portrait.

        Raises:
            InputError: nobody, or nothing usable, is in the picture.
        """


class Estimator(ABC):
    """One released network: a picture and cues to what it says of the people in it.

    A constructor takes `weights` ("official", an entry of configs/assets.yaml, a path, or
    "random") and reads the file at once, so that what is missing is said before work begins.

    Attributes:
        name: short name, written into reports.
        asset: entry of configs/assets.yaml of the released file; empty where it needs none.
        parts: parts of `PART_JOINTS` that it can estimate; empty for keypoints alone.
        needs: cues without which it cannot run: "person" or the name of a keypoint set, and
            "left_hand|right_hand" where one of several is enough.
    """

    name: ClassVar[str]
    asset: ClassVar[str]
    parts: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def __call__(self, portrait: Portrait, cues: Cues) -> tuple[Estimate, ...]:
        """Estimates everybody that it finds, the surest first; empty where that is nobody.

        Args:
            portrait: unbatched [3 H W]; the background is kept.
            cues: in the portrait's pixels.

        Raises:
            InputError: a cue that it needs is missing; the message names it.
        """


class SampleSource(ABC):
    """A data set of reference-target pairs that can be asked for by index."""

    @abstractmethod
    def __len__(self) -> int:
        """Returns the number of samples."""

    @abstractmethod
    def __getitem__(self, index: int) -> TrainSample:
        """Returns sample `index`, the same one every time."""
