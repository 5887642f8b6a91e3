"""Typed containers that pass between components; leading axes are batch."""

from presence.structures.base import TensorStruct, cat, stack, static, tensor
from presence.structures.body import BodyParams, MeshTopology, ProxyMesh, Tracking
from presence.structures.camera import Camera, focal_from_fov, intrinsics
from presence.structures.estimate import (
    PART_JOINTS,
    Cues,
    Estimate,
    PartModel,
)
from presence.structures.gaussians import Avatar, FeatureGaussians, Gaussians, SurfaceBinding
from presence.structures.image import Fragments, ImageFeatures, Portrait, Rendering, UVFeatures
from presence.structures.part import PartEstimate
from presence.structures.sample import TrainSample, View

__all__ = [
    "PART_JOINTS",
    "Avatar",
    "BodyParams",
    "Camera",
    "Cues",
    "Estimate",
    "FeatureGaussians",
    "Fragments",
    "Gaussians",
    "ImageFeatures",
    "MeshTopology",
    "PartEstimate",
    "PartModel",
    "Portrait",
    "ProxyMesh",
    "Rendering",
    "SurfaceBinding",
    "TensorStruct",
    "Tracking",
    "TrainSample",
    "UVFeatures",
    "View",
    "cat",
    "focal_from_fov",
    "intrinsics",
    "stack",
    "static",
    "tensor",
]
