"""``python -m gopro_tools.scenes``."""

from gopro_tools.scenes import main

main()
