"""Fast paths for inference: fused kernels, CUDA graphs, compiled networks.

Nothing here changes what a model computes: every kernel repeats a torch function, which stays
the reference, the path of training, and the path on the CPU.
"""
