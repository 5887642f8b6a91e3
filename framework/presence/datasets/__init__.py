"""The training scheme (paper 3.2, A.2): which views pair, how data sets mix, who validates."""

from presence.datasets.crops import HeadWindows, crop_view
from presence.datasets.exchange import exchange_views
from presence.datasets.mixing import Interleaving
from presence.datasets.multiview import (
    IdentityFolder,
    ViewFile,
    export_multiview,
    export_source,
    find_identities,
    load_view,
    save_view,
)
from presence.datasets.pairing import LABELS, allowed_pairs, label_of_yaw
from presence.datasets.splits import identity_number, in_share, split_of

__all__ = [
    "LABELS",
    "HeadWindows",
    "IdentityFolder",
    "Interleaving",
    "ViewFile",
    "allowed_pairs",
    "crop_view",
    "exchange_views",
    "export_multiview",
    "export_source",
    "find_identities",
    "identity_number",
    "in_share",
    "label_of_yaw",
    "load_view",
    "save_view",
    "split_of",
]
