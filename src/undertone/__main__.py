"""``python -m undertone``."""

from undertone.cli import main

if __name__ == "__main__":
    main()
