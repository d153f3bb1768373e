"""The command line ``hft``: a thin face over the functions of the package, which computes nothing itself."""
