"""The same room on every machine: imported only where a fleet is configured."""
