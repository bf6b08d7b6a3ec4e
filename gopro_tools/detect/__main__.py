"""``python -m gopro_tools.detect``."""

from gopro_tools.detect import main

main()
