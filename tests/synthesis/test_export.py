"""Files of generated people read back as what was generated."""

import numpy as np
import pytest
import torch
from PIL import Image

from presence.errors import InputError
from presence.interfaces import SampleSource
from presence.synthesis.export import contact_sheet, export_people


class Listed(SampleSource):
    def __init__(self, batch):
        self.batch = batch

    def __len__(self):
        return len(self.batch.subject)

    def __getitem__(self, index):
        return self.batch[index]


def test_files_read_back(sample, tmp_path):
    files = export_people(Listed(sample), 2, tmp_path / "out")
    assert all(path.is_file() for path in files) and len(files) == 11
    picture = np.asarray(Image.open(tmp_path / "out" / "000012_target.png"))
    expected = sample.target.portrait.rgb[1].permute(1, 2, 0).numpy()
    assert np.abs(picture / 255.0 - expected).max() <= 0.5 / 255 + 1e-6
    mask = np.asarray(Image.open(tmp_path / "out" / "000012_reference_mask.png"))
    assert mask.shape == (96, 96)
    with np.load(tmp_path / "out" / "000012.npz") as arrays:
        pose = np.concatenate(
            [arrays[k][1] for k in ("global_orient", "body_pose", "jaw_pose", "leye_pose",
                                    "reye_pose", "left_hand_pose", "right_hand_pose")]
        )  # fmt: skip
        assert np.array_equal(pose.reshape(55, 3), sample.target.body.pose[1].numpy())
        assert np.array_equal(arrays["K"][0], sample.reference.camera.K[1].numpy())


def test_sheet_holds_every_pair(sample):
    sheet = contact_sheet([sample[k] for k in range(3)], columns=2, side=48)
    assert sheet.shape == (3, 96, 192)
    assert torch.equal(sheet[:, 48:, 96:], torch.ones(3, 48, 96))  # the empty place


def test_impossible_counts_are_refused(sample, tmp_path):
    with pytest.raises(InputError, match="1 to 4"):
        export_people(Listed(sample), 5, tmp_path / "out")
    assert not (tmp_path / "out").exists()
