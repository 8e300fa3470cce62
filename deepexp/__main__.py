"""The command `deepexp`, which can be interrupted even during its imports."""

from signflow.interrupt import program


def main() -> int:
    """Run `deepexp` and return its exit code."""
    return program("deepexp", "deepexp.cli.main")


if __name__ == "__main__":
    raise SystemExit(main())
