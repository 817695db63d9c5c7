"""Who may do what: random policies against a model, and `slipway policy` and `config --policy`.

`SLIPWAY_POLICY_CASES=100000` in the environment asks so many questions instead of a few thousand.
"""
from __future__ import annotations

import json
import os
import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.command import slipway
from support.gateway import slipway_binary

CASES = int(os.environ.get("SLIPWAY_POLICY_CASES", "3000"))
ASKS = 20  # of one policy
OPERATIONS = ("pull", "push", "delete", "tag:move", "queue:read", "queue:control", "admin")
COMPONENTS = ("a", "b", "ab", "a-b", "*", "**", "a*", "*b", "a**")
NAMES = ("a", "b", "ab", "a-b")
HOSTS = ("r.x", "prod.x", "127.0.0.1:5000", "docker.io")
# How each host may be written, beside in another case.
SPELLINGS = {
    "r.x": ("r.x", "R.x", "r.x:443", "r.X:80"),
    "prod.x": ("prod.x", "PROD.x", "prod.x:443"),
    "127.0.0.1:5000": ("127.1:5000", "0x7f.0.0.1:5000", "2130706433:5000", "[::ffff:7f00:1]:5000"),
    "docker.io": ("docker.io", "index.docker.io", "Registry-1.docker.io", "docker.io:443"),
}
PEOPLE: tuple[dict[str, Any], ...] = (
    {"kind": "anonymous"},
    {"kind": "user", "name": "ann"},
    {"kind": "user", "name": "bob"},
    {"kind": "user", "name": "robot:ci"},
    {"kind": "robot", "name": "robot:ci"},
    {"kind": "ci", "name": "job", "groups": ["night"]},
    {"kind": "certificate", "name": "cert:CN=x"},
    {"kind": "operator"},
)
WHO = ("ann", "bob", "robot:ci", "job", "cert:CN=x", "team", "night", "anonymous", "authenticated")
GROUPS = {"team": ["ann", "robot:ci"], "night": ["bob"]}


# ---- the model


def matches(pattern: str, name: str) -> bool:
    parts = re.split(r"(\*\*|\*)", pattern)
    expression = "".join({"*": "[^/]*", "**": ".*"}.get(part, re.escape(part)) for part in parts)
    return re.fullmatch(expression, name) is not None


def is_called(who: dict[str, Any], name: str) -> bool:
    kind = {"robot": "robot", "cert": "certificate"}.get(name.partition(":")[0])
    if kind is None and who["kind"] in ("robot", "certificate"):
        return False
    return who.get("name") == name and kind in (None, who["kind"])


def is_for(rule: dict[str, Any], who: dict[str, Any]) -> bool:
    if who["kind"] == "anonymous":
        return "anonymous" in rule["who"]
    return any(
        name == "authenticated"
        or is_called(who, name)
        or name in who.get("groups", ())
        or any(is_called(who, member) for member in GROUPS.get(name, ()))
        for name in rule["who"]
        if name != "anonymous"
    )


def verdict(rules: list[dict[str, Any]], ask: dict[str, Any]) -> list[Any]:
    if ask["kind"] == "operator":
        return [True, 0]
    key, name = ("targets", ask["canonical"]) if "target" in ask else ("repositories", ask["repository"])
    for number, rule in enumerate(rules, 1):
        may = rule.get("may", ["push"] if key == "targets" else [])
        operation = ask.get("operation", "push")
        if (
            ("*" in may or operation in may)
            and is_for(rule, ask)
            and any(matches(pattern, name) for pattern in rule.get(key, ()))
        ):
            return [not rule.get("deny", False), number]
    return [False, 0]


# ---- what is asked


def pattern(chance: random.Random) -> str:
    return "/".join(chance.choice(COMPONENTS) for _ in range(chance.randint(1, 3)))


def target_pattern(chance: random.Random) -> str:
    host = chance.choice((*HOSTS, "*.x", "*"))
    # At Docker Hub a single component is one of library/, which the model does not say.
    path = pattern(chance) if host in HOSTS[:3] else "a/" + pattern(chance)
    return chance.choice((f"{host}/{path}", f"{host}/**", "**"))


def some(chance: random.Random, make: Any) -> list[str]:
    return sorted({make() for _ in range(chance.randint(1, 3))})


def rule(chance: random.Random) -> dict[str, Any]:
    out: dict[str, Any] = {"who": some(chance, lambda: chance.choice(WHO)), "deny": chance.random() < 0.3}
    lists = chance.choice(("r", "t", "rt"))
    if "r" in lists:
        out["repositories"] = some(chance, lambda: pattern(chance))
        out["may"] = some(chance, lambda: chance.choice((*OPERATIONS, "*")))
    if "t" in lists:
        out["targets"] = some(chance, lambda: target_pattern(chance))
        if "may" in out:
            out["may"] = sorted({*out["may"], "push"})
    return out


def ask(chance: random.Random) -> dict[str, Any]:
    out = dict(chance.choice(PEOPLE))
    path = "/".join(chance.choice(NAMES) for _ in range(chance.randint(1, 4)))
    if chance.random() < 0.5:
        return {**out, "operation": chance.choice(OPERATIONS), "repository": chance.choice((path, path, ""))}
    host = chance.choice(HOSTS)
    path = f"a/{path}" if host == "docker.io" else path
    return {**out, "target": f"{chance.choice(SPELLINGS[host])}/{path}", "canonical": f"{host}/{path}"}


def test_the_policy_is_the_model() -> None:
    chance = random.Random(CASES)
    rounds = []
    for _ in range(CASES // ASKS):
        rules = [rule(chance) for _ in range(chance.randint(1, 8))]
        rounds.append((rules, [ask(chance) for _ in range(ASKS)]))
    lines = (
        json.dumps({"settings": {"clients": {"groups": GROUPS}, "policy": rules}, "asks": asks})
        for rules, asks in rounds
    )
    program = slipway_binary().parent / "tests/policy_answers"
    done = subprocess.run(
        [program], input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(rounds)
    allowed = 0
    for (rules, asks), got in zip(rounds, answers):
        for one, answer in zip(asks, got):
            assert answer == verdict(rules, one), (rules, one)
            allowed += answer[0]
    # The cases say something: neither nearly all nor nearly none is allowed.
    assert CASES // 10 < allowed < CASES * 9 // 10


# ---- the command


CONFIG = {
    "clients": {"groups": {"team": ["robot:ci", "job"]}, "htpasswd": "users"},
    "mirrors": [{"match": "team/**", "to": ["prod.x/**", "test.x/**"]}],
    "policy": [
        {"who": ["team"], "targets": ["prod.x/**"], "deny": True},
        {"who": ["ann", "team"], "may": ["pull", "push"], "repositories": ["team/**"], "targets": ["*.x/**"]},
        {"who": ["night"], "may": ["*"], "repositories": ["**"]},
        {"who": ["anonymous"], "may": ["pull"], "repositories": ["public/**"]},
    ],
}
RULE_1 = "(rule 1: team may not push to prod.x/**)"
RULE_2 = "(rule 2: ann, team may pull, push in team/**, and push to *.x/**)"


@pytest.fixture(name="config")
def config_(tmp_path: Path) -> Path:
    (tmp_path / "users").write_text("")
    path = tmp_path / "slipway.json"
    path.write_text(json.dumps(CONFIG))
    return path


@pytest.mark.parametrize(
    ("words", "status", "lines"),
    (
        (
            ("--as", "ann", "push", "team/app", "to", "Test.X:443/a"),
            0,
            (
                f"allowed: ann may push in team/app {RULE_2}",
                f"allowed: ann may push to prod.x/app, where mirrors lead {RULE_2}",
                f"allowed: ann may push to test.x/app, where mirrors lead {RULE_2}",
                f"allowed: ann may push to test.x/a {RULE_2}",
            ),
        ),
        (
            ("--as", "robot:ci", "push", "team/app"),
            1,
            (
                f"allowed: robot:ci may push in team/app {RULE_2}",
                f"denied: robot:ci may not push to prod.x/app, where mirrors lead {RULE_1}",
                f"allowed: robot:ci may push to test.x/app, where mirrors lead {RULE_2}",
            ),
        ),
        (("--as", "ann", "push", "to", "r.y/a"), 1, ("denied: ann may not push to r.y/a (no rule)",)),
        (
            ("--as", "job,night", "queue:read"),
            0,
            ("allowed: job may queue:read (rule 3: night may do everything in **)",),
        ),
        (("--as", "anonymous", "pull", "team/app"), 1, ("denied: anonymous may not pull in team/app (no rule)",)),
        (
            ("--as", "cert:CN=x,O=y", "pull", "team/app"),
            1,
            ("denied: cert:CN=x,O=y may not pull in team/app (no rule)",),
        ),
        (("--as", "ann", "pull"), 2, ()),
        (("--as", "ann", "fly", "team/app"), 2, ()),
        (("--as", "ann", "pull", "team/app", "to", "r.x/a"), 2, ()),
        (("push", "team/app"), 2, ()),
    ),
)
def test_policy_test_says_which_rule(
    tmp_path: Path, config: Path, words: tuple[str, ...], status: int, lines: tuple[str, ...]
) -> None:
    done = slipway(tmp_path, "policy", "test", "--config", config, *words, seconds=20)
    assert (done.returncode, tuple(done.stdout.splitlines())) == (status, lines), done.stderr


def test_config_says_who_may_do_what(tmp_path: Path, config: Path) -> None:
    done = slipway(tmp_path, "config", "--policy", "--config", config, seconds=20)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "1. team may not push to prod.x/**",
        "2. ann, team may pull, push in team/**, and push to *.x/**",
        "3. night may do everything in **",
        "4. anonymous may pull in public/**",
        "team: robot:ci, job",
    ]
