"""``python -m corun``, which ``torchrun -m corun`` uses too."""

from corun.apps.cli import main

if __name__ == "__main__":
    main()
