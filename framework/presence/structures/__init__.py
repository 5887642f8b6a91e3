"""Typed containers that pass between components; leading axes are batch."""

from presence.structures.base import TensorStruct, cat, stack, static, tensor
from presence.structures.body import BodyParams, MeshTopology, ProxyMesh, Tracking
from presence.structures.camera import Camera, focal_from_fov, intrinsics
from presence.structures.gaussians import Avatar, FeatureGaussians, Gaussians, SurfaceBinding
from presence.structures.image import Fragments, ImageFeatures, Portrait, Rendering, UVFeatures
from presence.structures.sample import TrainSample, View

__all__ = [
    "Avatar",
    "BodyParams",
    "Camera",
    "FeatureGaussians",
    "Fragments",
    "Gaussians",
    "ImageFeatures",
    "MeshTopology",
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
