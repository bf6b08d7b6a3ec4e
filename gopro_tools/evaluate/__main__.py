"""``python -m gopro_tools.evaluate``."""

from gopro_tools.evaluate import main

main()
