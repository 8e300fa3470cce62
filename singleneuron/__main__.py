"""`singleneuron`, the command: its imports, too, can be interrupted."""

from signflow.interrupt import program


def main() -> int:
    """Run `singleneuron`; return its exit code."""
    return program("singleneuron", "singleneuron.cli.main")


if __name__ == "__main__":
    raise SystemExit(main())
