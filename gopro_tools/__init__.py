"""Make, check and score motion-deblurring datasets the GOPRO way.

Nothing is imported here, so that ``import gopro_tools`` costs nothing and needs no torch; each
module is imported by name (``from gopro_tools.synthesize import synthesize, SynthesisConfig``).
"""

__version__ = "0.1.0"
