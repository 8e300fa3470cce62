"""`figures`, the command: its imports, too, can be interrupted."""

from figures.interrupt import program


def main() -> int:
    """Run `figures`; return its exit code."""
    return program("figures")


if __name__ == "__main__":
    raise SystemExit(main())
