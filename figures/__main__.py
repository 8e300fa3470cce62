"""The command `figures`, which handles Ctrl-C even while its modules are still being imported."""

from signflow.interrupt import program


def main() -> int:
    """Run the command `figures`, and return its exit code."""
    return program("figures", "figures.cli")


if __name__ == "__main__":
    raise SystemExit(main())
