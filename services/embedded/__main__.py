"""`python -m services.embedded` is `tradeflow`."""

from services.embedded.cli import main

if __name__ == "__main__":
    main()
