"""`deepexp`, the command: its imports, too, can be interrupted."""

from signflow.interrupt import program


def main() -> int:
    """Run `deepexp`; return its exit code."""
    return program("deepexp", "deepexp.cli.main")


if __name__ == "__main__":
    raise SystemExit(main())
