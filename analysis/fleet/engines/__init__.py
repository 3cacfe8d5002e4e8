"""The same function over many chunks of runs: in this process, on its cores, on Ray or on Dask."""
