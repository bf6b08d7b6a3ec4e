"""``python -m gopro_tools.synthesize_stills``."""

from gopro_tools.synthesize_stills import main

main()
