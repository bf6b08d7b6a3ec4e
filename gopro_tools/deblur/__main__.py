"""``python -m gopro_tools.deblur``."""

from gopro_tools.deblur import main

main()
