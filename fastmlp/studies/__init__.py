"""The published studies that fastmlp reproduces: a TOML file each, and what makes its report.

A study file has the tables of a search file (`fastmlp.search.experiment`) and ``[study]``, which says what
was published and what the report shows; `fastmlp.studies.study` describes it. Copy one to make a
study of your own: ``fastmlp reproduce my-study.toml``.
"""
