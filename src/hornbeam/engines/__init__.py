"""Floor 2: engines turn Programs into Executables. ``engine.find`` gives one by name."""
