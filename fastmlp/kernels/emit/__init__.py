"""What Numba has no words for, as LLVM IR: vectors, tiles, the barrier."""
