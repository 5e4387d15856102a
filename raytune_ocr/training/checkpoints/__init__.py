"""Files of a training: states, checkpoints, random number generators and the folder of a run."""
