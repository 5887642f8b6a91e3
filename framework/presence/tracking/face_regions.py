"""Which of the 478 face landmarks belong to lips, brows, eyes, irises and the face's outline.

The numbering is MediaPipe's; left and right are the person's own.
"""

from __future__ import annotations

OUTER_LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
)  # fmt: skip
INNER_LIPS = (
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191,
)  # fmt: skip
RIGHT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
LEFT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
RIGHT_IRIS = (468, 469, 470, 471, 472)  # the centre first
LEFT_IRIS = (473, 474, 475, 476, 477)
OUTLINE = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
IRISES = RIGHT_IRIS + LEFT_IRIS
# Facial landmarks at the places of the pose model's own eye, mouth and nose landmarks.
FACE_OF_POSE = {
    "nose": 1,
    "left_eye_inner": 362,
    "left_eye": 473,
    "left_eye_outer": 263,
    "right_eye_inner": 133,
    "right_eye": 468,
    "right_eye_outer": 33,
    "mouth_left": 291,
    "mouth_right": 61,
}
