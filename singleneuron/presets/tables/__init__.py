"""The kinds of table that the TOML file of a preset may list."""
