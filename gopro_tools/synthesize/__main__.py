"""``python -m gopro_tools.synthesize``."""

from gopro_tools.synthesize import main

if __name__ == "__main__":  # worker processes import this module too
    main()
