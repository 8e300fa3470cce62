"""The command `figures`; Ctrl-C also works while it is still importing."""

from signflow.interrupt import program


def main() -> int:
    """Run `figures`; return its exit code."""
    return program("figures", "figures.cli")


if __name__ == "__main__":
    raise SystemExit(main())
