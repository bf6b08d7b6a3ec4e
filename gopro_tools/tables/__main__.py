"""``python -m gopro_tools.tables``."""

from gopro_tools.tables import main

main()
