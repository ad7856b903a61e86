"""The table of primitives, by family. Importing a family adds its rows."""
