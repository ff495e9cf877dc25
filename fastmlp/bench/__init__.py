"""What ``fastmlp bench`` and ``benchmarks/`` share.

``problem`` and ``settings`` say what is measured, ``peers`` and ``contender`` who takes part,
``ceiling``, ``footprint``, ``kernels``, ``timing`` and ``suite`` measure, ``measurements`` holds what
was found, and ``summary``, ``markdown``, ``roofline``, ``readme`` and ``folder`` show it.
"""
