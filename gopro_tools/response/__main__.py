"""``python -m gopro_tools.response``."""

from gopro_tools.response import main

main()
