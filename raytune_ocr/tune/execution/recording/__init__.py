"""Write what trials do to the journal, its copy in a storage, and the results."""
