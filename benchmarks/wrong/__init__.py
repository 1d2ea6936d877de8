"""Kernels with candidates that are wrong on purpose, each beside candidates that are not.

A kernel is a plain function, so that it can be compiled or interpreted. ``FAULT`` is a constexpr of
its candidates: the name of what is done wrong, empty for nothing. ``TURN`` is a constexpr of the
launch: where programs run one after another, as in Triton's interpreter, its number says which
program's update a race loses; below zero the race is a real one.

Loops end at constexprs, as the interpreter of Triton 3.4 needs it, and a fault masks what it leaves
out.

Whatever is wrong stays within memory of ours: `subjects.Memory` leaves room around each tensor.
"""
