"""``python -m gopro_tools.export``."""

from gopro_tools.export import main

if __name__ == "__main__":
    main()
