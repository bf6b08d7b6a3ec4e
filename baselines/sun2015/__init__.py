"""Sun et al., CVPR 2015."""
