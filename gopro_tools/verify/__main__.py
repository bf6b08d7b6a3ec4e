"""``python -m gopro_tools.verify``."""

from gopro_tools.verify import main

main()
