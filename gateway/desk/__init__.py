"""Room desk: what an operator sees and does. Logs, metrics, health, the administration socket."""
