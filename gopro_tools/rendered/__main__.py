"""``python -m gopro_tools.rendered``."""

from gopro_tools.rendered import main

main()
