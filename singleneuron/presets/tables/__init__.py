"""What a preset may ask for: the kinds of table that its TOML file lists."""
