"""The live page of runs: its data, its server and its assets."""
