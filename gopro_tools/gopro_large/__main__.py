"""``python -m gopro_tools.gopro_large``."""

from gopro_tools.gopro_large import main

main()
