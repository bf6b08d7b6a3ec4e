"""DeblurGAN, the conditional Wasserstein GAN of Kupyn et al. (CVPR 2018)."""
