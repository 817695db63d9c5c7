"""The specification's sections and the tests that stand for them.

Every test of the front's specification is named after its section and begins its docstring with how
strong its rule is: MUST (also MUST NOT, REQUIRED), SHOULD or MAY. The table says for each section
of OCI distribution-spec 1.1.1 how many different sentences of it demand something of a registry,
not of its clients. A section has at least as many tests, and no test is without a section.
"""
from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Section:
    title: str
    file: str
    prefix: str
    must: int
    should: int


SECTIONS = (
    Section("Determining Support", "errors", "support", 1, 0),
    Section("Endpoints", "errors", "endpoints", 1, 0),
    Section("Error Codes", "errors", "error_codes", 3, 1),
    Section("Warnings", "errors", "warnings", 1, 0),
    Section("Pulling manifests", "pull", "pulling_manifests", 6, 3),
    Section("Pulling blobs", "pull", "pulling_blobs", 3, 2),
    Section("Checking if content exists in the registry", "pull", "checking_content", 2, 2),
    Section("Push", "push", "push", 2, 0),
    Section("Pushing a blob monolithically: POST then PUT", "push", "post_then_put", 3, 0),
    Section("Pushing a blob monolithically: Single POST", "push", "single_post", 3, 0),
    Section("Mounting a blob from another repository", "push", "mounting", 1, 1),
    Section("Pushing a blob in chunks: the session", "chunks", "chunks_session", 1, 1),
    Section("Pushing a blob in chunks: PATCH", "chunks", "chunks_patch", 4, 0),
    Section("Pushing a blob in chunks: closing PUT", "chunks", "chunks_close", 3, 0),
    Section("Pushing a blob in chunks: status, cancelling", "chunks", "chunks_status", 2, 0),
    Section("Pushing Manifests", "manifests", "pushing_manifests", 5, 3),
    Section("Pushing Manifests with Subject", "manifests", "subject", 1, 0),
    Section("Listing Tags", "discovery", "listing_tags", 6, 0),
    Section("Listing Referrers", "discovery", "listing_referrers", 10, 1),
    Section("Enabling the Referrers API", "discovery", "enabling_referrers", 1, 0),
    Section("Deleting tags", "management", "deleting_tags", 1, 0),
    Section("Deleting Manifests", "management", "deleting_manifests", 2, 0),
    Section("Deleting Blobs", "management", "deleting_blobs", 2, 0),
)
# Not of the specification, or of all its sections together.
BESIDE = {("discovery", "catalog"), ("management", "deleting_everything")}
STRENGTHS = ("MUST", "SHOULD", "MAY")


def rules_in(file: str) -> dict[str, str]:
    """The tests of a file with their docstrings."""
    source = (FOLDER / f"test_front_{file}.py").read_text()
    found = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    names = {node.name: ast.get_docstring(node) or "" for node in found}
    return {name: text for name, text in names.items() if name.startswith("test_")}


def strength(docstring: str) -> str:
    return next((word for word in STRENGTHS if docstring.startswith(word)), "")


def belongs(name: str, prefix: str) -> bool:
    return name.startswith(f"test_{prefix}_")


def test_each_section_has_its_tests() -> None:
    for section in SECTIONS:
        tests = rules_in(section.file)
        found = Counter(
            strength(text) for name, text in tests.items() if belongs(name, section.prefix)
        )
        assert found["MUST"] >= section.must, section.title
        assert found["SHOULD"] >= section.should, section.title


def test_each_test_has_a_section_and_a_rule() -> None:
    for file in {section.file for section in SECTIONS}:
        prefixes = {section.prefix for section in SECTIONS if section.file == file}
        beside = {prefix for other, prefix in BESIDE if other == file}
        for name, text in rules_in(file).items():
            assert strength(text), f"{name} does not say how strong its rule is"
            owners = [prefix for prefix in prefixes | beside if belongs(name, prefix)]
            assert len(owners) == 1, f"{name} is of {owners or 'no section'}"


def test_each_file_has_its_table() -> None:
    """The table at the head of a file, for readers, is the one that is checked here."""
    for section in SECTIONS:
        head = ast.get_docstring(ast.parse((FOLDER / f"test_front_{section.file}.py").read_text()))
        rows = [line.split("|") for line in (head or "").splitlines() if line.startswith("|")]
        table = {row[2].strip(): row[1].strip() for row in rows}
        found = table[f"test_{section.prefix}_*"]
        assert found.startswith(section.title), (section.title, found)
