"""`python -m service` is `contact-bridge`."""

from service.cli.main import main

if __name__ == "__main__":
    main()
