"""What ``fastmlp bench`` and ``benchmarks/`` share.

``problem``, ``work`` and ``settings`` say what is measured, ``peers``, a module for each of them, and
``contender`` who takes part, and ``peer`` what that asks of them. ``ceiling``, ``footprint``,
``kernels``, ``timing`` and ``suite`` measure, ``measurements`` holds what was found, and ``summary``,
``markdown``, ``roofline``, ``readme`` and ``folder`` show it.
"""
