"""Keys and values of the rows of a batch, each row as long as it is."""

import torch

COLUMNS = 128
"""Room is made for this many tokens at a time."""


class Cache:
    """Tensors (layers, 2, rows, heads, columns, width of a head); row `r` is filled up to `lengths[r]`.

    The GPT of XTTS has no positions of its own (they are in its embeddings), so it does not matter in which column a
    token stands: rows need no common right edge, and each writes behind its own last token.
    """

    def __init__(self, layers: int, heads: int, width: int, *, device: torch.device, dtype: torch.dtype) -> None:
        self._room = torch.empty(layers, 2, 0, heads, 0, width, device=device, dtype=dtype)
        self.lengths: list[int] = []

    def view(self, layer: int) -> torch.Tensor:
        """Return keys and values of a layer, shape (2, rows, heads, longest, width), to read and to write."""
        return self._room[layer, :, : len(self.lengths), :, : max(self.lengths, default=0)]

    def add(self, lengths: list[int]) -> None:
        """Add rows of these lengths, to be filled through `fill`."""
        self.lengths += lengths
        self._make_room()

    def fill(self, layer: int, first: int, keys_values: torch.Tensor) -> None:
        """Write a layer of the rows from `first` on, shape (2, rows, heads, tokens, width)."""
        self._room[layer, :, first : first + keys_values.shape[1], :, : keys_values.shape[3]] = keys_values

    def grow(self) -> None:
        """Make every row one token longer."""
        self.lengths = [length + 1 for length in self.lengths]
        self._make_room()

    def remove(self, row: int) -> None:
        """Remove a row; the last one takes its place."""
        last = self.lengths.pop()
        if row < len(self.lengths):
            self._room[:, :, row] = self._room[:, :, len(self.lengths)]
            self.lengths[row] = last

    def _make_room(self) -> None:
        layers, _, rows, heads, columns, width = self._room.shape
        wanted_rows, longest = len(self.lengths), max(self.lengths, default=0)
        if wanted_rows <= rows and longest <= columns:
            return
        wanted_columns = max(columns, -(-longest // COLUMNS) * COLUMNS)
        # zeros, because a masked column still counts with weight 0, and 0 times what was there before may be NaN
        larger = self._room.new_zeros(layers, 2, max(rows, wanted_rows), heads, wanted_columns, width)
        larger[:, :, :rows, :, :columns] = self._room
        self._room = larger
