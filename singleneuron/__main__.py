"""The command `singleneuron`, which can be interrupted even while it imports its modules."""

from signflow.interrupt import program


def main() -> int:
    """Run `singleneuron` and return its exit code."""
    return program("singleneuron", "singleneuron.cli.main")


if __name__ == "__main__":
    raise SystemExit(main())
