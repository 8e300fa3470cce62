"""`deepexp`, the command: its imports, too, can be interrupted."""

from figures.interrupt import program


def main() -> int:
    """Run `deepexp`; return its exit code."""
    return program("deepexp")


if __name__ == "__main__":
    raise SystemExit(main())
