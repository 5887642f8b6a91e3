"""rasterize"""
