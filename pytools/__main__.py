"""`python -m pytools`."""

from pytools.cli.app import main

if __name__ == "__main__":
    main()
