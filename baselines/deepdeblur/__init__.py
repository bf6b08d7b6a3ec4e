"""DeepDeblur, the multi-scale network of Nah, Kim and Lee (CVPR 2017)."""
