from deepexp.cli import main

raise SystemExit(main())
