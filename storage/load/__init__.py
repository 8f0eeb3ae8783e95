"""Files in: CSV, Parquet, JSON Lines and Excel, by a mapping, into any store.

* `mapping` says which column of a file becomes which column of ours (and its config form).
* `files` reads a file of any format into a staging table.
* `expressions` turns a mapping into the staging engine's SQL, with the checks of every line.
* `merge` puts accepted rows into the store, inserting what is new and replacing what changed.
* `load` ties these together: one file, one transaction.
* `proposal` guesses a mapping from a file's column names and first rows.
"""
