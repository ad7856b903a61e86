"""Reads nothing, checks everything: model files are looked over here before Keras, or we, read them.

A file comes from somewhere. Keras refuses much of what a hostile one tries (`safe_mode`, links of HDF5, bombs); what is
here refuses the rest, before anything is built, extracted or allocated, and alike at every entrance:

    zips.py       members of an archive: where they lie, what they are, what they grow to   (.keras, .npz)
    arrays.py     the arrays of an .npz file
    hdf5.py       links, storage outside the file, filters, shapes against bytes            (.weights.h5, .h5)
    folders.py    links and special files in a folder, the shards a map names               (folders, .weights.json)
    configs.py    functions, depths and dtypes that a model's config names                  (config.json)
    limits.py     how much a file may ask for
    guard.py      puts the checks before Keras's own readers

Every refusal is an UnsafeFileError that names the file, the part of it, and what can be done instead.
"""
