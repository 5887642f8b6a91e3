"""Finds the largest person's pose, face and hand landmarks with MediaPipe."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from presence.errors import InputError
from presence.tracking.detection import POSE, Detection
from presence.tracking.face_correction import FaceCorrection
from presence.tracking.windows import Window
from presence_plugins.trackers.mediapipe_arms import find_arms
from presence_plugins.trackers.mediapipe_face_points import (
    belongs,
    beside,
    contradicts,
    in_profile,
    with_face,
)
from presence_plugins.trackers.mediapipe_looks import MediaPipeLooks
from presence_plugins.trackers.mediapipe_models import (
    FoundFace,
    FoundPose,
    MediaPipeModels,
)
from presence_plugins.trackers.mediapipe_second_looks import (
    is_steady,
    pose_again,
    steady_face,
)

_SEEN = 0.5  # mean visibility of the shoulders from which there is somebody
_TILES = (2, 4)  # a picture without findings is searched again in n x n overlapping tiles
_SURE_FACE = 0.8  # a bare back of the head can pass for a face, but not surely
_LARGE = 0.25  # share of the picture from which a face is large enough
_STEADY = 0.72  # best score of a face in several crops from which its points are believed
_NEARLY = 0.6  # `in_profile`'s limit from which crops look whether it is so: one look errs much
_CLOSER = 1.6  # size of the crop in which a face's points are found, in sizes of the face
_HEAD = [POSE[n] for n in ("nose", "left_eye", "right_eye", "left_ear", "right_ear")]


class MediaPipeDetector:
    """Detects in the whole picture, then again in crops of the chosen person, face and hands.

    Args:
        models: the models to use; shared ones save their loading time.
        faces: moves the face mesh to where it belongs on a body; None to take it as it is found.
    """

    def __init__(
        self, models: MediaPipeModels | None = None, faces: FaceCorrection | None = None
    ) -> None:
        self.models = models or MediaPipeModels()
        self.faces = faces
        self._looks = MediaPipeLooks(self.models)

    def __call__(self, image: np.ndarray) -> Detection:
        """Detects the largest person.

        Args:
            image: [H W 3] uint8 RGB.

        Raises:
            InputError: nobody in it, or only seen from behind.
        """
        return self._detect(image, faceless=False)

    def side_view(self, image: np.ndarray) -> Detection:
        """Detects the largest person, who is known to be seen from a side.

        A body does without a face then, and one with shoulders the wrong way round is not seen
        from behind. Of 96 rendered side views of training seeds, 36 have no detection otherwise
        and 1 has none here; of those 36, landmarks of the near side lie 15 to 50 mm off (medians;
        hips of half bodies 55 mm).

        Args:
            image: [H W 3] uint8 RGB.

        Raises:
            InputError: nobody in it.
        """
        return self._detect(image, faceless=True)

    def _detect(self, image: np.ndarray, *, faceless: bool) -> Detection:
        notes: list[str] = []
        faces = self._find_faces(image)
        if len(faces) > 1:
            notes.append(f"{len(faces)} faces found: the largest one is tracked")
        face, pose, mesh = self._find_head(image, faces, faceless=faceless)
        bodily = faceless and pose is not None and _mean_visibility(pose) >= _SEEN
        if mesh is None and (pose is None or face is None) and not bodily:
            _refuse(pose)
        if mesh is None:
            notes.append("no facial landmarks found: the face keeps its neutral expression")
        if pose is None:
            notes.append("no body pose found: only the head is fitted")
        sets = {} if mesh is None else {"face": _with_confidence(mesh, face)}
        world = {}
        if pose is not None:
            world["pose"] = torch.from_numpy(pose.world).float()
            pose, hands = find_arms(self._looks, image, pose, face)
            sets["pose"] = torch.from_numpy(pose.points).float()
            for side, hand in hands.items():
                points = np.column_stack([hand.points, np.full(21, hand.score)])
                sets[f"{side}_hand"] = torch.from_numpy(points).float()
                world[f"{side}_hand"] = torch.from_numpy(hand.world).float()
        found = Detection(image.shape[1], image.shape[0], sets, world, tuple(notes))
        return found if self.faces is None else self.faces(found)

    def _find_head(
        self, image: np.ndarray, faces: list[FoundFace], *, faceless: bool
    ) -> tuple[FoundFace | None, FoundPose | None, np.ndarray | None]:
        """Returns the person's face, pose and face mesh [478 2], looked at again where in doubt.

        Raises:
            InputError: seen from behind, unless a person without a face will do.
        """
        face, pose = self._find_person(image, faces)
        if pose is not None and not faceless and _seen_from_behind(pose, face):
            _refuse(pose)  # the mesh model would invent a face on the back of a head
        closer = self._seen_closer(image, face)
        mesh = self._find_mesh(image, face, pose, closer)
        if mesh is not None and not is_steady(self._looks, image, face, mesh):
            mesh = None
        if closer is not None and _doubtful(mesh, pose, closer):
            mesh, pose = self._look_again(image, closer, mesh, pose)
            if pose is not None and not faceless and _seen_from_behind(pose, face):
                _refuse(pose)
        if mesh is None and pose is None and face is not None:  # a print or an ear, then
            face, pose = None, self._find_pose(image, None, alone=True)
            if pose is not None and (faceless or not _seen_from_behind(pose, None)):
                mesh = self._find_mesh(image, None, pose, None)
        return face, pose, mesh

    def _find_person(
        self, image: np.ndarray, faces: list[FoundFace]
    ) -> tuple[FoundFace | None, FoundPose | None]:
        """The largest face that has a body: prints on cloth pass for faces, but have none."""
        for face in faces:
            pose = self._find_pose(image, face, alone=len(faces) < 2)
            if pose is not None:
                return face, pose
        if faces:
            return faces[0], None
        return None, self._find_pose(image, None, alone=True)

    def _find_faces(self, image: np.ndarray) -> list[FoundFace]:
        whole = Window.whole(image)
        found = self._looks.faces(image, whole)
        for count in _TILES:
            if found or not _worth_tiles(whole, count):
                break
            for tile in _tiles(whole, count):
                found += self._looks.faces(image, tile)
        return _without_doubles(found)

    def _seen_closer(self, image: np.ndarray, face: FoundFace | None) -> FoundFace | None:
        """Takes a small face's points from a crop: to 4% of its size instead of 11%."""
        if face is None or _is_large(face, image):
            return face
        near = self._looks.faces(image, face.window.square().scaled(_CLOSER))
        again = [f for f in near if f.window.overlap(face.window) > 0.2]
        return dataclasses.replace(face, points=again[0].points) if again else face

    def _find_pose(
        self, image: np.ndarray, face: FoundFace | None, *, alone: bool
    ) -> FoundPose | None:
        """Looks in the whole picture, then in narrowing windows below the chosen face."""
        whole = Window.whole(image)
        windows = [whole] if face is None or alone else []
        if face is None:
            windows += [tile for n in _TILES if _worth_tiles(whole, n) for tile in _tiles(whole, n)]
        else:
            windows += [_below_face(face.window, width, whole) for width in (7.0, 4.5)]
        for window in windows:
            pose = self._looks.pose(image, window)
            if pose is None:
                continue
            if face is None or belongs(pose, face):
                return pose
        return None

    def _find_mesh(
        self,
        image: np.ndarray,
        face: FoundFace | None,
        pose: FoundPose | None,
        closer: FoundFace | None,
    ) -> np.ndarray | None:
        windows = []
        if face is not None:
            windows += [face.window.square().scaled(factor) for factor in (2.0, 1.5, 3.0)]
        elif pose is not None and pose.points[_HEAD, 2].min() > 0.5:
            head = pose.points[_HEAD, :2]
            shoulders = pose.points[[POSE["left_shoulder"], POSE["right_shoulder"]], :2]
            size = max(np.ptp(head, 0).max(), 0.25 * np.linalg.norm(np.subtract(*shoulders)))
            x, y = head.mean(0)
            windows += [Window.around(x, y, size * f, size * f) for f in (3.0, 4.5)]
        for window in windows:
            mesh = self._looks.mesh(image, window)
            if mesh is not None and not (beside(mesh, face) and beside(mesh, closer)):
                return mesh
        return None

    def _look_again(
        self,
        image: np.ndarray,
        face: FoundFace,
        mesh: np.ndarray | None,
        pose: FoundPose | None,
    ) -> tuple[np.ndarray | None, FoundPose | None]:
        """Settles what mesh and pose leave open by what crops about the face agree on.

        A missing pose, or one that has the head elsewhere, is looked for again; beside a mesh, one
        that has counts nothing. In profile, where the mesh model hardly turns beyond 60 degrees,
        and where there is no mesh, the pose's eyes, nose and mouth come from the face detector.
        """
        face = steady_face(self._looks, image, face)
        sure = face.score > _STEADY
        if pose is None or (sure and contradicts(pose, face)):
            pose = pose_again(self._looks, image, face) or (pose if mesh is None else None)
        if pose is None or not sure:
            return mesh, pose
        if mesh is None or in_profile(face):
            return None, with_face(pose, face)
        return mesh, pose


def _doubtful(mesh: np.ndarray | None, pose: FoundPose | None, face: FoundFace) -> bool:
    found_all = mesh is not None and pose is not None and not contradicts(pose, face)
    return not found_all or in_profile(face, _NEARLY)


def _refuse(pose: FoundPose | None) -> None:
    if pose is None or _mean_visibility(pose) < _SEEN:
        raise InputError("nobody was found in the picture")
    if _mirrored(pose, "shoulder"):
        raise InputError("the person is seen from behind: a view of the face is needed")
    raise InputError("a person was found, but no face: a front or three-quarter view is needed")


def _worth_tiles(whole: Window, count: int) -> bool:
    """Tiles smaller than what a model looks at would show it nothing new."""
    return min(whole.width, whole.height) / count > 150


def _tiles(whole: Window, count: int) -> list[Window]:
    """Divides a picture into `count` x `count` windows that overlap by half."""
    size_x, size_y = whole.width * 2 / (count + 1), whole.height * 2 / (count + 1)
    steps = [i / (count - 1) for i in range(count)]
    return [
        Window((whole.width - size_x) * u, (whole.height - size_y) * v, size_x, size_y)
        for v in steps
        for u in steps
    ]


def _without_doubles(faces: list[FoundFace]) -> list[FoundFace]:
    """Drops repeated finds of one face; the largest face comes first."""
    kept: list[FoundFace] = []
    for face in sorted(faces, key=lambda face: -face.window.area):
        if all(face.window.overlap(other.window) < 0.3 for other in kept):
            kept.append(face)
    return kept


def _below_face(face: Window, width: float, whole: Window) -> Window:
    """The part of the picture in which the body below a face is expected.

    Args:
        face: box.
        width: of the part, in units of the face's size.
        whole: the picture; a window that left it would show the model a stretched rim.
    """
    x, y = face.centre
    size = max(face.width, face.height)
    left, right = max(x - width / 2 * size, 0.0), min(x + width / 2 * size, whole.width)
    top, bottom = max(y - 1.8 * size, 0.0), min(y + (1.6 * width - 1.8) * size, whole.height)
    return Window(left, top, right - left, bottom - top)


def _with_confidence(mesh: np.ndarray, face: FoundFace | None) -> torch.Tensor:
    score = 0.8 if face is None else face.score
    return torch.from_numpy(np.column_stack([mesh, np.full(len(mesh), score)])).float()


def _is_large(face: FoundFace, image: np.ndarray) -> bool:
    return face.window.width > _LARGE * min(image.shape[:2])


def _mean_visibility(pose: FoundPose) -> float:
    shoulders = [POSE["left_shoulder"], POSE["right_shoulder"]]
    return float(pose.points[shoulders, 2].mean())


def _seen_from_behind(pose: FoundPose, face: FoundFace | None) -> bool:
    """Shoulders and ears are the wrong way round, and no face is certain."""
    if not _mirrored(pose, "shoulder"):
        return False
    return face is None or (_mirrored(pose, "ear") and face.score < _SURE_FACE)


def _mirrored(pose: FoundPose, part: str) -> bool:
    """Seen from the front, a person's left is on the picture's right."""
    left, right = (pose.points[POSE[f"{side}_{part}"], 0] for side in ("left", "right"))
    return bool(left < right)
