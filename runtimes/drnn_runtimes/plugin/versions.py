"""What versions of NVIDIA's parsers make of a node that is a local function and a plugin at once.

From changelogs, headers and issues; only TensorRT-RTX 1.7.1 has been run. Whatever the table says, a build that is to
have the kernel inside fails where the parser took the function (`drnn_export.engine.worker`).
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from drnn_core.environment import release
from drnn_runtimes.trt.bindings import Flavour

Winner = Literal["function", "plugin", "plugin if the node names its namespace"]


@dataclasses.dataclass(frozen=True)
class ParserRule:
    """How a parser chooses, from a version on.

    Attributes:
        flavour: The module.
        since: Its first version with the rule.
        winner: What a node becomes whose function and plugin have one name.
        domain_is_namespace: Whether a node without `plugin_namespace` has that of its domain.
        has_override: Whether there is a flag ENABLE_PLUGIN_OVERRIDE. It is for ONNX operators: over a function without
            `plugin_namespace`, TensorRT-RTX takes no plugin with it either.
        ran: Whether this was seen, or only read.
    """

    flavour: Flavour
    since: tuple[int, ...]
    winner: Winner
    domain_is_namespace: bool = False
    has_override: bool = False
    ran: bool = False

    @property
    def needs_node_alone(self) -> bool:
        """Whether the function must be taken out of the graph, so that the plugin is found."""
        return self.winner == "function"


RULES = (
    ParserRule("tensorrt", (10, 3), "function"),
    ParserRule("tensorrt", (10, 7), "plugin"),
    ParserRule("tensorrt", (10, 10), "plugin", domain_is_namespace=True),
    ParserRule("tensorrt", (10, 15), "plugin", domain_is_namespace=True, has_override=True),
    ParserRule("tensorrt-rtx", (1, 7), "plugin if the node names its namespace", True, has_override=True, ran=True),
)


def parser_rule(flavour: Flavour, version: str) -> ParserRule:
    """The rule of a version: that of the latest version before it, or of the first one that is known.

    Args:
        flavour: The module.
        version: Its version, for example "10.3.0.26".
    """
    rules = [rule for rule in RULES if rule.flavour == flavour]
    return next((rule for rule in reversed(rules) if release(version) >= rule.since), rules[0])
