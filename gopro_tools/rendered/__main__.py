"""``python -m gopro_tools.rendered``."""

from gopro_tools.rendered.command import main

main()
