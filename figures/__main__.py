"""The command `figures`; Ctrl-C also ends it while it still imports."""

from signflow.interrupt import program


def main() -> int:
    """Run `figures`; return its exit code."""
    return program("figures", "figures.cli")


if __name__ == "__main__":
    raise SystemExit(main())
