"""``python -m gopro_tools.report``."""

from gopro_tools.report import main

main()
