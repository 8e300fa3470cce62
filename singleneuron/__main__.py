from singleneuron.cli import main

raise SystemExit(main())
