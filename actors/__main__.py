"""``python -m actors`` is ``actor-worker``."""

if __name__ == "__main__":
    import sys

    if not sys.flags.safe_path:
        # The working directory, where others may be able to write. Nothing is imported from it:
        # it goes before the first import of a module that is not built in.
        del sys.path[0]

    from .cli.main import main

    main()
