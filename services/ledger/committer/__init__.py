"""The one writer of a book: gather → lock → read → decide → write → commit → answer."""
