"""A plugin for Presence: importing it registers `PaletteDecoder`."""

from presence_decoder_demo.palette import PaletteDecoder

__all__ = ["PaletteDecoder"]
