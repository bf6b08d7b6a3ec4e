"""Where sharp and blurred images lie in a dataset: one reader for the layouts of this field.

===========  =====================================================================================
GOPRO        ``<split>/<sequence>/{sharp,blur,blur_gamma}/<name>`` (Nah et al. 2017; ours)
flat         ``[<split>/]{input,target}/<name>``: MPRNet, NAFNet, Restormer, Uformer, MIMO-UNet
DVD          ``[<split>/]<sequence>/{input,GT}/<name>`` (Su et al. 2017)
RealBlur     ``<scene>/{blur/blur_1,gt/gt_1}.png``, splits in ``RealBlur_J_test_list.txt``
RSBlur       ``<scene>/<number>/{real_blur/real_blur,gt/gt_sharp}.png``, ``RSBlur_real_test.txt``
REDS         ``<split>_{sharp,blur}/<sequence>/<name>`` (Nah et al. 2019); ``{GT,GT_blurred}`` (VRT)
HIDE         ``<split>/**/<name>`` blurred, ``GT/<name>`` sharp (Shen et al. 2019)
Köhler       ``BlurryA_B.png``, and ``GroundTruthA_B_C.png`` along the camera's path
===========  =====================================================================================

Folders go by any of the names in `naming.SHARP_WORDS` and `naming.BLURRED_WORDS`, in any case, and
the dataset may lie in folders that hold nothing else, as archives unpack.
"""

from gopro_tools.layouts.finding import find_dataset, open_dataset
from gopro_tools.layouts.listing import list_pairs
from gopro_tools.layouts.place import GOPRO, Pairs, Place

__all__ = ["GOPRO", "Pairs", "Place", "find_dataset", "list_pairs", "open_dataset"]
