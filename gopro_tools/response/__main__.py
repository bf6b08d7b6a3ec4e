"""``python -m gopro_tools.response``."""

from gopro_tools.response.main import main

main()
