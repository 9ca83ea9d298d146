"""The tables of codes, one TOML file a room; read by gateway.errors."""
