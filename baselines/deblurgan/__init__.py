"""DeblurGAN, the conditional Wasserstein GAN of Kupyn et al. (CVPR 2018)."""

from baselines.deblurgan.network import PAPER, RELEASED, Critic, DeblurGanOptions, Generator

__all__ = ["PAPER", "RELEASED", "Critic", "DeblurGanOptions", "Generator"]
