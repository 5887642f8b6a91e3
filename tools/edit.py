"""Edits an avatar: from an edit of its portrait, or of its colour map; the rest stays as it is."""

from __future__ import annotations

import argparse

from presence.cli import run_tool
from presence.released import WEIGHTS


def main() -> int:
    """Parses arguments, edits, and says what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("avatar", metavar="AVATAR", help="avatar.safetensors of a reconstruction")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--export-map", metavar="FILE", help="write the colour map (.png) to paint on")
    how.add_argument("--map", metavar="FILE", help="a painted colour map")
    how.add_argument(
        "--portrait", metavar="FILE", help="an edit of portrait.png, which lies beside AVATAR"
    )
    parser.add_argument("--out", metavar="DIR", help="folder of the edited avatar")
    parser.add_argument("--mask", metavar="FILE", help="the person's mask in the edited portrait")
    parser.add_argument(
        "--parts",
        help="with --portrait: parts of the body that may change, such as head,neck "
        "(default: what shows in the changed pixels)",
    )
    parser.add_argument("--weights", default=str(WEIGHTS), help="of the model that made the avatar")
    parser.add_argument("--config", help="config file (default: the one that the weights carry)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--body", help="body model file, where the avatar was not made with AnnyX")
    arguments = parser.parse_args()
    if arguments.out is None and not arguments.export_map:
        parser.error("--out is needed")

    from presence.pipeline import edit_files

    if arguments.export_map:
        side = edit_files.export_map(arguments.avatar, arguments.export_map)
        print(f"{arguments.export_map}: the colours of the avatar, {side} x {side}")
        return 0
    if arguments.map:
        changed, count = edit_files.apply_map(
            arguments.avatar, arguments.map, arguments.out, body=arguments.body
        )
    else:
        from presence.pipeline.loading import load_avatar_model

        model, _ = load_avatar_model(arguments.weights, arguments.config, device=arguments.device)
        parts = arguments.parts.split(",") if arguments.parts else None
        changed, count = edit_files.apply_portrait(
            arguments.avatar,
            arguments.portrait,
            arguments.out,
            model,
            mask=arguments.mask,
            parts=parts,
        )
    print(f"{arguments.out}: {changed} of {count} Gaussians changed; see comparison.png")
    return 0


if __name__ == "__main__":
    run_tool(main)
